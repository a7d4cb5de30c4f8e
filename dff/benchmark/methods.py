"""Our methods: every registered focus measure through the whole chain, and the textbook method to be beaten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dff import fuse, pipeline
from dff.benchmark.cost import stopwatch
from dff.benchmark.estimate import Estimate, Method
from dff.focus import FOCUS_MEASURES, focus_volume, load_measure
from dff.settings import DEFAULTS, Settings
from dff.stack import FloatArray, FocalStack

STRAW_MAN = "straw-man"
STRAW_MAN_SUMMARY = "sum-modified Laplacian, largest of all frames, parabola through three points"


def our_methods(names: Sequence[str] = ()) -> list[Method]:
    """The straw man, then one method for every registered focus measure; or only those that are named.

    Raises:
        ValueError: an unknown name.
    """
    known = {STRAW_MAN: straw_man_method()}
    for name in FOCUS_MEASURES:
        known[name] = chain_method(name, DEFAULTS.but(measure=name))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"--methods: must be among {', '.join(known)}; got {', '.join(unknown)}; correct the name")
    return [known[name] for name in (names or known)]


def chain_method(name: str, settings: Settings) -> Method:
    """A method that runs the whole chain with some settings on frames that need no alignment."""
    default = " (the default)" if settings == DEFAULTS else ""
    still = settings.but(align="none", brightness="none")
    return Method(
        name,
        f"{load_measure(settings.measure).summary}; {settings.depth_method} depth{default}",
        lambda stack: chain(stack, still),
        settings=settings,
        with_window=(lambda px: chain_method(name, settings.but(window_sigma_px=px)))
        if _has_window(settings)
        else None,
    )


def _has_window(settings: Settings) -> bool:
    """Whether the focus measure depends on the window: operators do, networks do not."""
    narrow, wide = (load_measure(settings.measure, window_sigma_px=px) for px in (1.0, 5.0))
    return narrow.halo_px != wide.halo_px


def straw_man_method(window_sigma_px: float = 3.0) -> Method:
    """The textbook method as it is found in most programs."""
    return Method(
        STRAW_MAN,
        STRAW_MAN_SUMMARY,
        lambda stack: straw_man(stack, window_sigma_px),
        with_window=straw_man_method,
    )


def chain(stack: FocalStack, settings: Settings) -> Estimate:
    """What the product says of a stack."""
    with stopwatch() as costs:
        result = pipeline.reconstruct(stack, settings)
    return Estimate(
        cost=costs[0],
        index=result.depth.index,
        confidence=result.depth.confidence,
        sigma=result.depth.sigma,
        all_in_focus=fuse.frame_tensor(result.all_in_focus).numpy().transpose(1, 2, 0),
    )


def straw_man(stack: FocalStack, window_sigma_px: float = 3.0) -> Estimate:
    """The textbook: modified Laplacian at neighbouring pixels, argmax, three-point log-parabola, best frame picked."""
    with stopwatch() as costs:
        images = torch.stack([fuse.frame_tensor(stack.frames[k]) for k in range(len(stack))])
        measure = load_measure("sum-modified-laplacian", window_sigma_px=window_sigma_px, step_px=1)
        volume = focus_volume(images, measure)
        index = three_point_peak(volume.numpy())
        picture = fuse.all_in_focus(images, index=torch.from_numpy(index).round(), method="pick")
    return Estimate(costs[0], index=index, all_in_focus=picture.numpy().transpose(1, 2, 0))


def three_point_peak(volume: FloatArray) -> FloatArray:
    """(H, W) vertex of the parabola through the largest logit and its neighbours; whole numbers at the ends."""
    label = volume.argmax(0)
    middle = np.clip(label, 1, len(volume) - 2)
    below, here, above = (np.take_along_axis(volume, (middle + k)[None], axis=0)[0] for k in (-1, 0, 1))
    bend = 2 * here - below - above
    inside = (label == middle) & (bend > 0)
    return (label + np.where(inside, (above - below) / (2 * np.where(inside, bend, 1)), 0)).astype(np.float32)
