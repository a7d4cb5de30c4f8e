"""All-in-focus pictures: frames weighted by sharpness, picked by the index map, or blended in a Laplacian pyramid.

Every method is a weighted mean of the frames, pixel by pixel ("weighted", "pick") or band by band ("pyramid"), so
a stack of equal frames comes back unchanged. "unveiled" is the pyramid with the blur of nearer surfaces taken off
farther ones, by no more than the frames differ. Frames are asked for one at a time, and nothing grows with their
number. Sums run along the stack only, so a strip of rows with `halo_px` rows around it, cut at multiples of
`row_multiple`, gives exactly the numbers of the whole picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dff.covered import Covered
from dff.fuse.blend import halo_px as blend_halo_px
from dff.fuse.blend import pyramid_blend, window_frames
from dff.fuse.frames import (
    WHOLE,
    FrameSource,
    Window,
    frame_stack,
    frame_tensor,
    near_clipped,
    noise_level,
    somewhere,
    to_dtype,
)
from dff.fuse.veil import HALO_PX as VEIL_HALO_PX
from dff.fuse.veil import LARGEST_CELL_PX, Defocus, unveiled
from dff.fuse.weights import WindowWeights, pick_weights, softmax_weights, weighted_mean

__all__ = [
    "FUSION_METHODS",
    "TEMPERATURE",
    "Defocus",
    "all_in_focus",
    "frame_tensor",
    "halo_px",
    "noise_level",
    "row_multiple",
    "to_dtype",
]

FUSION_METHODS = ("weighted", "pick", "pyramid", "unveiled")
_BLENDED = ("pyramid", "unveiled")
PYRAMID_LEVELS = 4
TEMPERATURE = {"weighted": 0.1, "pyramid": 0.3, "unveiled": 0.3}
"""Divides logits; the bands of the pyramid decide further."""
RADIUS_FRAMES = 2.0
WEIGHTED_SIGMA_FRAMES = 0.5
NOISE = 0.004
CLIPPED_RADIUS_PX = 8


def halo_px(method: str, *, levels: int = PYRAMID_LEVELS) -> int:
    """Rows of context on either side that a row of the picture depends on, a multiple of `row_multiple`."""
    if method == "unveiled":
        return max(blend_halo_px(levels), -(-VEIL_HALO_PX // 2**levels) * 2**levels)
    return blend_halo_px(levels) if method == "pyramid" else 0


def row_multiple(method: str, *, levels: int = PYRAMID_LEVELS) -> int:
    """Number of rows that the start of a strip, halo included, has to be a multiple of."""
    if method == "unveiled":
        return max(2**levels, LARGEST_CELL_PX)
    return 2**levels if method == "pyramid" else 1


def all_in_focus(
    frames: FrameSource,
    *,
    volume: Tensor | None = None,
    index: Tensor | None = None,
    valid: Tensor | Covered | None = None,
    method: str = "pyramid",
    known: Tensor | None = None,
    defocus: Defocus | None = None,
    noise: float = NOISE,
    temperature: float | None = None,
    radius_frames: float = RADIUS_FRAMES,
    levels: int = PYRAMID_LEVELS,
    count: int | None = None,
    inside: Window = WHOLE,
) -> Tensor:
    """Picture in which every pixel comes from the frames that are sharp there.

    Args:
        frames: (N, C, H, W) float32, a sequence of (C, H, W), or a function of k that gives frame k.
        volume: (N, H, W) focus measure, one unbounded logit per frame and pixel.
        index: (H, W) sub-frame index of the sharpest frame; NaN where unknown.
        valid: (N, H, W) where a frame has a picture after alignment, or its columns; pixels outside it are not used.
        method: "weighted", "pick", "pyramid" or "unveiled".
        known: (H, W) bool where the index is measured, for "unveiled"; by default wherever it is a number.
        defocus: How surfaces blur away from their own frame; without it, or without an index, or with a volume,
            "unveiled" is the same as "pyramid".
        noise: Standard deviation of the noise of a frame, white being one; see `noise_level`.
        temperature: Divides the logits before the softmax: the smaller, the more the sharpest frame takes all.
        radius_frames: Frames farther than this from the index have no weight in a volume.
        levels: Number of halvings of the pyramid.
        count: Number of frames N; needed only where frames is a function and neither volume nor valid is given.
        inside: Rows and columns that count; what is around them is their context, and comes back unfinished.

    Returns:
        (C, H, W) float32; zero where no frame is valid.

    Raises:
        ValueError: an unknown method, neither volume nor index, or shapes that do not agree.
    """
    if method not in FUSION_METHODS:
        raise ValueError(f"fusion: must be one of {', '.join(FUSION_METHODS)}; got {method!r}; choose one of them")
    stack = frame_stack(frames, count, volume, valid)
    if method == "pick":
        picture = weighted_mean(stack, pick_weights(stack, volume=volume, index=index))
    elif method in _BLENDED and volume is None and index is not None:
        clipped = near_clipped(stack, CLIPPED_RADIUS_PX)
        weight = WindowWeights(stack, index, window_frames(clipped, noise))
        picture = pyramid_blend(stack, weight, noise=noise, levels=levels, clipped=clipped, inside=inside)
        if method == "unveiled" and defocus is not None:
            measured = index if known is None else torch.where(known, index, torch.nan)
            picture = unveiled(picture, stack, measured, defocus, noise=noise, clipped=clipped, inside=inside)
    else:
        shares = softmax_weights(
            stack,
            volume=volume,
            index=index,
            temperature=temperature or TEMPERATURE[method],
            sigma_frames=WEIGHTED_SIGMA_FRAMES,
            radius_frames=radius_frames,
        )
        blended = method in _BLENDED
        picture = pyramid_blend(stack, shares, noise=noise, levels=levels) if blended else weighted_mean(stack, shares)
    return picture if valid is None else picture * somewhere(valid)
