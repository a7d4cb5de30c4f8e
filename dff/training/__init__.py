"""Training of the focus networks: scenes, losses, one loop."""

from dff.training.loop import Recipe, train
from dff.training.losses import CLOSE_UP_LOSSES, LossWeights
from dff.training.scenes import fill_cache
from dff.training.tasks import TASKS

__all__ = ["CLOSE_UP_LOSSES", "TASKS", "LossWeights", "Recipe", "fill_cache", "train"]
