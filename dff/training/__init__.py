"""Training of the focus networks: scenes, losses, one loop."""

from dff.training.loop import NETWORKS, Recipe, train
from dff.training.scenes import fill_cache

__all__ = ["NETWORKS", "Recipe", "fill_cache", "train"]
