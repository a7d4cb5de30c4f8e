"""Focus measures: a stack of images becomes one logit per frame and pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.covered import Covered
from dff.focus import drpl, fusegan, mffgan, operators, sesf, sesf_stack, sesf_vgg
from dff.focus.coherence import StackFilter, frame_units, luminance_of, stack_filter
from dff.focus.energies import UNCOVERED_LOGIT, SymmetricEnergy
from dff.focus.inference import in_precision, on_device
from dff.focus.measure import CELL, FocusMeasure, RowMeasure

__all__ = [
    "ALL_ROWS",
    "CELL",
    "FOCUS_MEASURES",
    "NETWORKS",
    "UNCOVERED_LOGIT",
    "FocusMeasure",
    "RowMeasure",
    "StackFilter",
    "coherent",
    "focus_cells",
    "focus_volume",
    "frame_units",
    "load_measure",
    "luminance_of",
    "stack_filter",
    "with_channels",
]

FOCUS_MEASURES: dict[str, Callable[..., FocusMeasure]] = {
    "ring-difference": operators.ring_difference,
    "sum-modified-laplacian": operators.sum_modified_laplacian,
    "tenengrad": operators.tenengrad,
    "grey-level-variance": operators.grey_level_variance,
    "directional-dilated-laplacian": operators.directional_dilated_laplacian,
    "spatial-frequency": operators.spatial_frequency,
    "laplacian-pyramid": operators.laplacian_pyramid_energy,
    "sesf-stack": sesf_stack.sesf_stack,
    "sesf": sesf.sesf,
    "sesf-vgg": sesf_vgg.sesf_vgg,
    "drpl": drpl.drpl,
    "fusegan": fusegan.fusegan,
    "mffgan": mffgan.mffgan,
}
"""Factories by name; their options are keyword arguments."""
NETWORKS = ("sesf-stack", "sesf", "sesf-vgg", "drpl", "fusegan", "mffgan")
"""Names of those that have weights."""
ALL_ROWS = slice(None)


def load_measure(name: str, *, precision: str = "float32", device: str = "cpu", **options: Any) -> FocusMeasure:
    """The focus measure of a name.

    Args:
        name: One of FOCUS_MEASURES.
        precision: Of a network's convolutions: float32, float16 or bfloat16.
        device: Where a network runs: cpu, cuda or mps. Images and logits stay on the processor.
        **options: Of the measure, such as window_sigma_px; networks take `weights`, the path of a weight file.

    Raises:
        ValueError: an unknown name, precision or device, or a weight file that cannot be used.
    """
    if name not in FOCUS_MEASURES:
        raise ValueError(f"--measure: must be one of {', '.join(FOCUS_MEASURES)}; got {name!r}; choose one of them")
    measure = in_precision(FOCUS_MEASURES[name](**options), precision)
    return on_device(measure, device) if name in NETWORKS else measure


def focus_volume(
    images: Tensor,
    measure: FocusMeasure,
    *,
    z_sigma_frames: float = 0.0,
    z: NDArray[np.floating] | None = None,
    covered: Covered | None = None,
    inside: slice = ALL_ROWS,
) -> Tensor:
    """Logits of every frame after the filter along the stack.

    Args:
        images: (N, C, H, W) float32 from 0 to 1; C is 1 or 3.
        measure: Focus measure.
        z_sigma_frames: Standard deviation of the filter along the stack in mean steps; 0 is off.
        z: (N,) positions of the frames where the steps are uneven; any unit.
        covered: What frames cover; elsewhere they have UNCOVERED_LOGIT. None: all cover everything.
        inside: Rows that are wanted; the others are their context.

    Returns:
        (N, rows, W).
    """
    images = with_channels(images, measure.channels)
    if energy := _compiled(measure, images):
        return energy.logits(images[:, 0], _along(images, z_sigma_frames, z), covered, inside)
    volume = measure(coherent(images, z_sigma_frames, z))
    for k, where in () if covered is None else covered.bare():
        volume[k].masked_fill_(where, UNCOVERED_LOGIT)
    return volume[:, inside]


def focus_cells(
    images: Tensor,
    measure: FocusMeasure,
    *,
    z_sigma_frames: float = 0.0,
    z: NDArray[np.floating] | None = None,
    covered: Covered | None = None,
    inside: slice = ALL_ROWS,
) -> Tensor | None:
    """Logarithm of the mean energy of every cell of CELL x CELL pixels; None where that takes the logits of pixels.

    Args:
        images: (N, C, H, W), from a multiple of CELL pixels on; see `focus_volume`.
        measure: Focus measure.
        z_sigma_frames: Standard deviation of the filter along the stack in mean steps.
        z: (N,) positions of the frames where the steps are uneven.
        covered: What frames cover.
        inside: Rows that are wanted, from a multiple of CELL pixels on.

    Returns:
        (N, h, w).
    """
    images = with_channels(images, measure.channels)
    energy = _compiled(measure, images)
    return None if energy is None else energy.cells(images[:, 0], _along(images, z_sigma_frames, z), covered, inside)


def _compiled(measure: FocusMeasure, images: Tensor) -> SymmetricEnergy | None:
    """The measure in compiled loops; None where tensors do the work."""
    return measure.symmetric if filters.by_opencv(images) and not images.requires_grad else None


def with_channels(images: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) as luminance where one channel is wanted."""
    return filters.luminance(images)[:, None] if channels == 1 and images.shape[1] != 1 else images


def coherent(images: Tensor, z_sigma_frames: float, z: NDArray[np.floating] | None = None) -> Tensor:
    """(N, C, H, W) images after the filter along the stack; see `focus_volume`."""
    return images if z_sigma_frames <= 0 else _along(images, z_sigma_frames, z)(images)


def _along(images: Tensor, z_sigma_frames: float, z: NDArray[np.floating] | None) -> StackFilter:
    if z_sigma_frames <= 0:
        return StackFilter(np.eye(len(images)))
    return stack_filter(np.arange(len(images)) if z is None else z, z_sigma_frames)
