"""Focal stacks rendered from known surfaces, with exact truth: for tests, training, the benchmark and the demo."""

from dff.simulate.recipe import DEMO, Recipe
from dff.simulate.render import render_scene
from dff.simulate.scenes import SCENES

__all__ = ["DEMO", "SCENES", "Recipe", "render_scene"]
