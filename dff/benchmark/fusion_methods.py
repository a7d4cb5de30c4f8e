"""Methods of the fusion suite: fusion networks, the classical floor, and what bounds them all."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor

from dff import filters, fuse, pipeline
from dff.benchmark.cost import Cost, stopwatch
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.methods import STRAW_MAN
from dff.focus import NETWORKS, load_measure
from dff.settings import DEFAULTS
from dff.stack import FocalStack

MEAN = "mean of the inputs"
CLASSICAL = ("sum-modified-laplacian", "grey-level-variance")
GUIDED = "guided-filter"
CHAIN = "reconstruct"
BASE_RADIUS_PX, BASE_EPS = 45, 0.3
DETAIL_RADIUS_PX, DETAIL_EPS = 7, 1e-6
"""Of the two-scale guided filter fusion, as published."""
BASE_WINDOW_PX = 15
SALIENCY_SIGMA_PX = 5.0
PAIR_FRAMES = 2
OWN_RULE = ", own rule"
"""Added to the name of a measure whose pixels are weighted by the rule that it comes with."""


def fusion_methods(names: Collection[str]) -> list[Method]:
    """The mean of the inputs, then the methods that are named, networks first.

    Args:
        names: Names of measures; the straw man stands for the classical floor, the default measure for the chain.
    """
    chosen = [drawn(MEAN, "what any method has to beat", lambda images: images.mean(0))]
    weighing = [*[name for name in NETWORKS if name in names], *(CLASSICAL if STRAW_MAN in names else ())]
    chosen += [fused_by(name) for name in weighing]
    chosen += [fused_by(name, own_rule=True) for name in weighing if not load_measure(name).generates]
    if STRAW_MAN in names:
        chosen.append(drawn(GUIDED, "two scales, weights by guided filters (Li, Kang and Hu 2013)", guided_fusion))
    if DEFAULTS.measure in names:
        chosen.append(Method(CHAIN, "`dff reconstruct`: depth first, then a pyramid blend; stacks only", reconstructed))
    return chosen


def drawn(name: str, summary: str, rule: Callable[[Tensor], Tensor]) -> Method:
    """A method that is a function of the images, (N, C, H, W) → (C, H, W)."""

    def estimate(stack: FocalStack) -> Estimate:
        images = torch.stack([fuse.frame_tensor(stack.frames[k]) for k in range(len(stack))])
        with stopwatch() as costs:
            picture = rule(images)
        return Estimate(costs[0], all_in_focus=picture.clamp(0, 1).numpy().transpose(1, 2, 0))

    return Method(name, summary, estimate)


def fused_by(name: str, *, own_rule: bool = False) -> Method:
    """`dff fuse` with one network or operator, on frames that need no alignment.

    Args:
        name: Name of the measure.
        own_rule: Whether pixels are weighted by its own rule, as networks are published, instead of bands.
    """
    settings = DEFAULTS.but(
        measure=name,
        fusion="weighted" if own_rule else DEFAULTS.fusion,
        align="none",
        brightness="none",
        threads=torch.get_num_threads(),
    )

    def estimate(stack: FocalStack) -> Estimate:
        with stopwatch() as costs:
            picture = pipeline.fuse_frames(stack, settings)
        return Estimate(costs[0], all_in_focus=fuse.frame_tensor(picture).numpy().transpose(1, 2, 0))

    title, how = (f"{name}{OWN_RULE}", "; pixels by its own rule") if own_rule else (name, "; blended band by band")
    return Method(title, load_measure(name).summary + how, estimate)


def reconstructed(stack: FocalStack) -> Estimate:
    """The picture of the whole chain; none for a pair, which has no focus curve."""
    if len(stack) <= PAIR_FRAMES:
        return Estimate(Cost(0.0, 0.0))
    with stopwatch() as costs:
        result = pipeline.reconstruct(stack, DEFAULTS.but(align="none", brightness="none"))
    return Estimate(costs[0], all_in_focus=fuse.frame_tensor(result.all_in_focus).numpy().transpose(1, 2, 0))


def guided_fusion(images: Tensor) -> Tensor:
    """Base and detail fused apart, each by weights that follow the edges of its frame.

    Li, Kang and Hu, IEEE TIP 22(7), 2013: the sharpest frame by smoothed |Laplacian|, its mask through a wide guided
    filter for the base (31 x 31 px mean) and through a narrow one for the detail.

    Args:
        images: (N, C, H, W).

    Returns:
        (C, H, W).
    """
    grey = filters.luminance(images)
    laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
    saliency = filters.gaussian(filters.correlate(grey, laplacian).abs(), SALIENCY_SIGMA_PX)
    first = torch.nn.functional.one_hot(saliency.argmax(0), len(images)).permute(2, 0, 1).to(grey)
    base = torch.stack([filters.box(channel, BASE_WINDOW_PX) for channel in images.unbind(1)], 1)
    wide = shares(filters.guided(grey, first, radius_px=BASE_RADIUS_PX, eps=BASE_EPS))
    narrow = shares(filters.guided(grey, first, radius_px=DETAIL_RADIUS_PX, eps=DETAIL_EPS))
    return (wide[:, None] * base + narrow[:, None] * (images - base)).sum(0)


def shares(weights: Tensor) -> Tensor:
    """(N, H, W) weights that are not negative and sum to one."""
    positive = weights.clamp_min(0) + 1e-6
    return positive / positive.sum(0)
