"""All-in-focus pictures: frames weighted by sharpness, picked by the index map, or blended in a Laplacian pyramid.

Every method is a weighted mean of the frames, pixel by pixel ("weighted", "pick") or band by band ("pyramid"), so
it is linear in the frames and a stack of equal frames comes back unchanged. Frames are asked for one at a time.
Sums run along the stack only, so a strip of rows with `halo_px` rows around it, cut at multiples of
`row_multiple`, gives exactly the numbers of the whole picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

FUSION_METHODS = ("weighted", "pick", "pyramid")
PYRAMID_LEVELS = 5
TEMPERATURE = 0.1
RADIUS_FRAMES = 2.0
INDEX_SIGMA_FRAMES = 0.4

_BEYOND = 1e4
"""Loss of logit per frame outside the window around the index: more than any difference of sharpness."""

_LOWEST = -50.0
"""Logit below the largest of a pixel from which on a weight is zero."""

_NOTHING = "fusion: needs a focus volume or an index map; got neither; give one"

FrameSource = Tensor | Sequence[Tensor] | Callable[[int], Tensor]


def halo_px(method: str, *, levels: int = PYRAMID_LEVELS) -> int:
    """Rows of context on either side that a row of the picture depends on, a multiple of `row_multiple`."""
    return 4 * 2**levels if method == "pyramid" else 0


def row_multiple(method: str, *, levels: int = PYRAMID_LEVELS) -> int:
    """Number of rows that the start of a strip, halo included, has to be a multiple of."""
    return 2**levels if method == "pyramid" else 1


def all_in_focus(
    frames: FrameSource,
    *,
    volume: Tensor | None = None,
    index: Tensor | None = None,
    valid: Tensor | None = None,
    whole: bool = False,
    method: str = "pyramid",
    temperature: float = TEMPERATURE,
    radius_frames: float = RADIUS_FRAMES,
    levels: int = PYRAMID_LEVELS,
    count: int | None = None,
) -> Tensor:
    """Picture in which every pixel comes from the frames that are sharp there.

    Args:
        frames: (N, C, H, W) float32, a sequence of (C, H, W), or a function of k that gives frame k.
        volume: (N, H, W) focus measure, one unbounded logit per frame and pixel.
        index: (H, W) sub-frame index of the sharpest frame; NaN where unknown.
        valid: (N, H, W) where a frame has a picture after alignment; pixels outside it are not used.
        whole: Whether frames go on in some way where they are not valid, so that bands need no filling there.
        method: "weighted", "pick" or "pyramid".
        temperature: Divides the logits before the softmax: the smaller, the more the sharpest frame takes all.
        radius_frames: Frames farther than this from the index have no weight.
        levels: Number of halvings of the pyramid.
        count: Number of frames N; needed only where frames is a function and neither volume nor valid is given.

    Returns:
        (C, H, W) float32; zero where no frame is valid.

    Raises:
        ValueError: an unknown method, neither volume nor index, or shapes that do not agree.
    """
    if method not in FUSION_METHODS:
        raise ValueError(f"fusion: must be one of {', '.join(FUSION_METHODS)}; got {method!r}; choose one of them")
    stack = _Stack(frames, _frame_count(frames, volume, valid, count), None if whole else valid)
    _check_shapes(stack.count, volume, index, valid)
    if method == "pick":
        weights = pick_weights(stack.count, index=index, volume=volume, valid=valid)
    else:
        weights = softmax_weights(
            stack.count,
            volume=volume,
            index=index,
            valid=valid,
            temperature=temperature,
            radius_frames=radius_frames,
        )
    picture = _pyramid_blend(stack, weights, levels) if method == "pyramid" else _weighted_mean(stack, weights)
    return picture if valid is None else picture * valid.any(0)


Part = tuple[slice, slice]
"""Rows and columns of a rectangle."""
_WHOLE: Part = (slice(None), slice(None))


@dataclass(frozen=True)
class FrameWeights:
    """Share of every frame in every pixel; the shares of a pixel sum to one."""

    weight: Callable[[int, Part], Tensor]
    """(H, W) weight of frame k in a rectangle, zero where the frame is not used."""
    total: Tensor
    """(H, W) sum of the weights before they are normalised; zero where no frame is valid."""
    parts: Sequence[Part | None]
    """The rectangle outside of which a frame has no weight; None where it has none at all."""

    def __getitem__(self, k: int) -> Tensor:
        """(H, W) share of frame k; every frame has the same where none is valid."""
        share, part = torch.zeros_like(self.total), self.parts[k]
        if part is not None:
            share[part] = self.share(k, part)
        return share

    def used(self) -> Iterator[tuple[int, Part, Tensor]]:
        """The frames that have a share anywhere, with the rectangle and their share in it."""
        for k, part in enumerate(self.parts):
            if part is not None and (share := self.share(k, part)).any():
                yield k, part, share

    def share(self, k: int, part: Part) -> Tensor:
        """Share of frame k in a rectangle."""
        total = self.total[part]
        return torch.where(total > 0, self.weight(k, part) / total.clamp(min=1e-30), 1 / len(self.parts))


def _normalised(
    weight: Callable[[int, Part], Tensor], size: Sequence[int], parts: Sequence[Part | None]
) -> FrameWeights:
    total = torch.zeros(*size)
    for k, part in enumerate(parts):
        if part is not None:
            total[part] += weight(k, part)
    return FrameWeights(weight, total, parts)


def _maximum(planes: Callable[[int, Part], Tensor], size: Sequence[int], parts: Sequence[Part | None]) -> Tensor:
    peak = torch.full(tuple(size), -torch.inf)
    for k, part in enumerate(parts):
        if part is not None:
            torch.maximum(peak[part], planes(k, part), out=peak[part])
    return peak


def _within_reach(index: Tensor | None, count: int, reach_frames: float) -> list[Part | None]:
    """For every frame the rectangle around the pixels whose index is no farther from it than this.

    All is within reach where an index is unknown.
    """
    if index is None or not torch.isfinite(index).all():
        return [_WHOLE] * count
    inside = index.clamp(0, count - 1)
    bounds = [(inside.amin(axis).numpy(), inside.amax(axis).numpy()) for axis in (1, 0)]
    parts: list[Part | None] = []
    for k in range(count):
        near = [np.flatnonzero((low - reach_frames <= k) & (k <= high + reach_frames)) for low, high in bounds]
        parts.append((_span(near[0]), _span(near[1])) if len(near[0]) and len(near[1]) else None)
    return parts


def _span(found: NDArray[np.intp]) -> slice:
    return slice(int(found[0]), int(found[-1]) + 1)


def softmax_weights(
    count: int,
    *,
    volume: Tensor | None = None,
    index: Tensor | None = None,
    valid: Tensor | None = None,
    temperature: float = TEMPERATURE,
    radius_frames: float = RADIUS_FRAMES,
) -> FrameWeights:
    """Softmax over the frames of logit / temperature, within a window around the index where it is known.

    Without a volume the weight is a Gaussian around the index. Where every frame in the window is invalid, the
    nearest valid frames take over.

    Args:
        count: Number of frames N.
        volume: (N, H, W) logits.
        index: (H, W) index that the window is centred on; NaN opens it to all frames.
        valid: (N, H, W) frames that may be used.
        temperature: Divides the logits.
        radius_frames: Half width of the window.
    """

    def logit(k: int, part: Part) -> Tensor:
        value: Tensor | float = 0.0 if volume is None else volume[k][part] / temperature
        if index is not None:
            away = torch.nan_to_num(torch.abs(k - index[part]))
            value = value - _BEYOND * (away - radius_frames).clamp(min=0)
            value = value if volume is not None else value - 0.5 * (away / INDEX_SIGMA_FRAMES) ** 2
        if not isinstance(value, Tensor):
            raise ValueError(_NOTHING)
        return value if valid is None else torch.where(valid[k][part], value, -torch.inf)

    size = _size(index, volume)
    # One frame farther, a weight is exactly zero beside that of the nearest frame.
    parts = _within_reach(index, count, radius_frames + 1)
    peak = _maximum(logit, size, parts)
    if not torch.isfinite(peak).all():
        parts = [_WHOLE] * count
        peak = _maximum(logit, size, parts)
        peak = torch.where(torch.isfinite(peak), peak, 0)

    def weight(k: int, part: Part) -> Tensor:
        # Below that it adds nothing to a float32, and far below it the exponential is slow.
        lower = logit(k, part) - peak[part]
        return torch.where(lower > _LOWEST, torch.exp(lower.clamp(min=_LOWEST)), 0)

    return _normalised(weight, size, parts)


def _size(index: Tensor | None, volume: Tensor | None) -> Sequence[int]:
    planes = index if index is not None else volume
    if planes is None:
        raise ValueError(_NOTHING)
    return planes.shape[-2:]


def pick_weights(
    count: int, *, index: Tensor | None = None, volume: Tensor | None = None, valid: Tensor | None = None
) -> FrameWeights:
    """Linear interpolation between the two frames on either side of the index.

    Where the index is unknown the frame of the largest logit is taken, or the mean of all without a volume; where
    neither neighbour is valid, the nearest valid frame.

    Args:
        count: Number of frames N.
        index: (H, W) sub-frame index; NaN where unknown.
        volume: (N, H, W) logits.
        valid: (N, H, W) frames that may be used.
    """
    target = _sharpest(volume, valid) if index is None else index
    if index is not None and volume is not None:
        target = torch.where(torch.isfinite(index), index, _sharpest(volume, valid))

    def distance(k: int, part: Part) -> Tensor:
        away = torch.nan_to_num(torch.abs(k - target[part]))
        return away if valid is None else torch.where(valid[k][part], away, torch.inf)

    size = _size(index, volume)
    parts = [_WHOLE] * count if valid is not None else _within_reach(target, count, 1)
    nearest = -_maximum(lambda k, part: -distance(k, part), size, parts)
    reach = torch.where(nearest < 1, 1, nearest + 0.5)
    return _normalised(lambda k, part: (reach[part] - distance(k, part)).clamp(min=0), size, parts)


def _sharpest(volume: Tensor | None, valid: Tensor | None) -> Tensor:
    if volume is None:
        raise ValueError(_NOTHING)
    usable = volume if valid is None else torch.where(valid, volume, -torch.inf)
    return usable.argmax(0).to(volume.dtype)


@dataclass(frozen=True)
class _Stack:
    source: FrameSource
    count: int
    valid: Tensor | None

    def frame(self, k: int, fill: Tensor | float = 0.0) -> Tensor:
        """Frame k (C, H, W) with `fill` where it is not valid."""
        picture = self.source(k) if callable(self.source) else self.source[k]
        return picture if self.valid is None else torch.where(self.valid[k], picture, fill)


def _frame_count(frames: FrameSource, volume: Tensor | None, valid: Tensor | None, count: int | None) -> int:
    if not callable(frames):
        return len(frames)
    for planes in (volume, valid):
        if planes is not None:
            return len(planes)
    if count is None:
        raise ValueError("count: must be given with a function of frames and an index only; got None; give N")
    return count


def _check_shapes(count: int, volume: Tensor | None, index: Tensor | None, valid: Tensor | None) -> None:
    if volume is None and index is None:
        raise ValueError(_NOTHING)
    for name, planes in (("volume", volume), ("valid", valid)):
        if planes is not None and len(planes) != count:
            raise ValueError(f"{name}: must have one plane a frame; got {len(planes)} for {count} frames; match them")


def _weighted_mean(stack: _Stack, weights: FrameWeights) -> Tensor:
    picture = torch.zeros(1)
    for k, part, share in weights.used():
        frame = stack.frame(k)
        picture = torch.zeros_like(frame) if picture.ndim == 1 else picture
        picture[:, part[0], part[1]] += frame[:, part[0], part[1]] * share
    return picture


def _pyramid_blend(stack: _Stack, weights: FrameWeights, levels: int) -> Tensor:
    """Blend every band of the frames with the weights low-passed to that band (Burt and Adelson 1983).

    Of each frame only the rectangle is worked on in which its low-passed weights are not zero.
    """
    fill = 0.0 if stack.valid is None else _weighted_mean(stack, weights)
    blend: list[Tensor] = []
    for k, used, share in weights.used():
        frame, part = stack.frame(k, fill), _widened(used, weights.total.shape, levels)
        blend = blend or [torch.zeros_like(band) for band in gaussian_pyramid(frame, levels)]
        mask = torch.zeros_like(weights.total)
        mask[used] = share
        masks = gaussian_pyramid(mask[part][None], levels)
        for level, band in enumerate(laplacian_pyramid(frame[:, part[0], part[1]], levels)):
            rows, columns = (slice(s.start >> level, (s.start >> level) + n) for s, n in zip(part, band.shape[1:]))
            blend[level][:, rows, columns] += band.mul_(masks[level])
    return collapse(blend)


def _widened(part: Part, size: Sequence[int], levels: int) -> Part:
    """The rectangle outside of which a frame with weights in `part` adds nothing to any band.

    Low-passed weights reach 2 · 2^levels pixels farther than the weights, and bands there depend on pixels 3 · 2^levels
    farther out. It begins at multiples of 2^levels, where the coarser levels begin too.
    """
    halo, step = 5 << levels, 1 << levels
    spans = [s.indices(length) for s, length in zip(part, size)]
    rows, columns = (
        slice(max(0, (start - halo) // step * step), min(length, -(-(stop + halo) // step) * step))
        for (start, stop, _), length in zip(spans, size)
    )
    return rows, columns


def gaussian_pyramid(planes: Tensor, levels: int) -> list[Tensor]:
    """Planes (C, H, W) and their `levels` halvings, finest first."""
    pyramid = [planes]
    for _ in range(levels):
        pyramid.append(_halve(pyramid[-1]))
    return pyramid


def laplacian_pyramid(planes: Tensor, levels: int) -> list[Tensor]:
    """Bands of planes (C, H, W), finest first, and the low-pass rest; `collapse` is the inverse."""
    low = gaussian_pyramid(planes, levels)
    return [fine - _double(coarse, fine) for fine, coarse in itertools.pairwise(low)] + [low[-1]]


def collapse(bands: Sequence[Tensor]) -> Tensor:
    """Planes (C, H, W) of a Laplacian pyramid."""
    planes = bands[-1]
    for band in reversed(bands[:-1]):
        planes = band + _double(planes, band)
    return planes


def _halve(planes: Tensor) -> Tensor:
    """Every second pixel after the binomial filter 1 4 6 4 1, borders mirrored."""
    if planes.device.type == "cpu":
        return torch.from_numpy(np.stack([cv2.pyrDown(plane) for plane in planes.contiguous().numpy()]))
    return _halve_axis(_halve_axis(planes, 2), 1)


def _double(planes: Tensor, like: Tensor) -> Tensor:
    """Planes interpolated by the same filter to the size of `like`."""
    height, width = like.shape[-2:]
    if planes.device.type == "cpu":
        doubled = [cv2.pyrUp(plane, dstsize=(width, height)) for plane in planes.contiguous().numpy()]
        return torch.from_numpy(np.stack(doubled))
    return _double_axis(_double_axis(planes, 1, height), 2, width)


def _halve_axis(planes: Tensor, axis: int) -> Tensor:
    """What cv2.pyrDown does along one axis, for other devices."""
    last = planes.shape[axis] - 1
    centres = torch.arange(0, last + 1, 2, device=planes.device)
    result = torch.zeros_like(planes.index_select(axis, centres))
    for offset, tap in zip(range(-2, 3), (1, 4, 6, 4, 1)):
        mirrored = last - (last - (centres + offset).abs()).abs()
        result += planes.index_select(axis, mirrored.clamp(min=0)) * (tap / 16)
    return result


def _double_axis(planes: Tensor, axis: int, size: int) -> Tensor:
    """What cv2.pyrUp does along one axis, for other devices: mirrored before the first, repeated after the last."""
    last = planes.shape[axis] - 1
    here = torch.arange(last + 1, device=planes.device)
    before = planes.index_select(axis, (here - 1).abs().clamp(max=last))
    after = planes.index_select(axis, (here + 1).clamp(max=last))
    pair = torch.stack([(before + 6 * planes + after) / 8, (planes + after) / 2], dim=axis + 1)
    return pair.flatten(axis, axis + 1).narrow(axis, 0, size)


def frame_tensor(frame: NDArray[Any]) -> Tensor:
    """Frame (H, W, C) of integers or floats as (C, H, W) float32 with white at one."""
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frame, -1, 0), dtype=np.float32))
    return planes / _white(frame.dtype)


def to_dtype(picture: Tensor, dtype: DTypeLike) -> NDArray[Any]:
    """Picture (C, H, W) with white at one as (H, W, C) of a type: rounded, clipped, not dithered."""
    values = np.moveaxis(picture.cpu().numpy(), 0, -1)
    target = np.dtype(dtype)
    if not np.issubdtype(target, np.integer):
        return np.ascontiguousarray(values, dtype=target)
    white = _white(target)
    return np.clip(np.rint(values * np.float32(white)), 0, white).astype(target)


def _white(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
