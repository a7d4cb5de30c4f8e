"""Veils taken off: what the blur of a nearer surface lays over the frame that is focused on the farther one.

Beside an occlusion edge the farther surface is never seen alone. In its own frame the nearer surface is a blurred,
half-transparent layer over it, `I = V + (1 - S) G`: S is the share of the light that comes from the nearer surface, V
that light, and G the farther surface's own colour. A nearer pixel whose depth differs by d frames covers the disc of
radius r d around it, r being the growth of the disc a frame; so depth and the nearer surface's colours, which are seen
sharp and unveiled in its own frame, give S and V at every pixel, and `G = (I - V) / (1 - S)`.

A wrong depth would spoil more than it mends, so every pixel is asked for proof: the frame that is focused on the nearer
surface sees the farther one beside it without a veil, blurred over the same disc. Where the mean of G over the disc
is not what that frame shows, the picture stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.filters import gaussian
from dff.fuse.blend import reach_frames
from dff.fuse.cells import JUMP_FRAMES, NOWHERE, Cells, Disc, to_pixels
from dff.fuse.frames import FrameStack

LARGEST_PX = 40
"""Discs of nearer surfaces are followed up to this radius, and fade from three quarters of it on."""
_DISC = 3
"""Cells in a disc's radius, at most: its size is half of that to all of it."""
_CELLS_PX = (2, 4, 8)
LARGEST_CELL_PX = _CELLS_PX[-1]
_PROOF_CELL_PX, _PROOF_PX = 4, 12
"""The proof is looked for on cells of so many pixels, over discs up to this radius."""
HALO_PX = LARGEST_PX + _CELLS_PX[-1] + _PROOF_PX + 2 * _PROOF_CELL_PX + 8
"""Rows of context that a pixel depends on."""
_LEAST_GAP_FRAMES = 2.0
_LEAST_RADIUS_PX = 1.0
_STEEPEST_FRAMES = 2.0
"""Neighbouring pixels that differ by more are no slope."""
_LEAST_SHARE, _FULL_SHARE = 0.01, 0.05
"""Shares of the veil between which it begins to be taken off,"""
_LEAST_SEEN, _WELL_SEEN = 0.25, 0.5
"""and of what is left of the surface behind it."""
_TOLERANCE, _CONTRAST = 0.08, 0.1
"""What the proof may be off by: a share of the light, and of the variance of the surface around."""
_SMOOTH_PX = 1.0
_UNLIKE = 0.1
_MOST_RAYS = 3.0
_CHANGE_PX, _LARGEST_CHANGE = 2, 3.0
"""No colour changes by more than this many times what the two frames differ by around it."""


@dataclass(frozen=True)
class Defocus:
    """How a surface blurs away from its own frame."""

    radius_px: float
    """Growth of the blur disc's radius a frame."""
    near_first: bool
    """Whether the first frame is focused nearest to the camera."""

    @property
    def gap_frames(self) -> float:
        """Least distance of two surfaces of which the nearer one veils the other."""
        return max(_LEAST_GAP_FRAMES, _LEAST_RADIUS_PX / self.radius_px)


@dataclass(frozen=True)
class Veil:
    """What lies over some pixels in their own frames."""

    place: Tensor
    """(M) flat place of the pixels."""
    share: Tensor
    """(M) share S of the light that is the veil's."""
    light: Tensor
    """(M, C) that light V."""
    depth: Tensor
    """(M) mean depth of what it comes from."""


def unveiled(
    picture: Tensor, stack: FrameStack, index: Tensor, defocus: Defocus, *, noise: float, clipped: Tensor
) -> Tensor:
    """The picture with farther surfaces in their own colours beside occlusion edges.

    Args:
        picture: (C, H, W) all-in-focus picture, of which each pixel is used for itself alone.
        stack: The frames.
        index: (H, W) sub-frame index; NaN where unknown, which neither veils nor is veiled.
        defocus: How surfaces blur.
        noise: Standard deviation of the noise of a frame, white being one.
        clipped: (H, W) one around clipped highlights, where nothing is changed, else zero.

    Returns:
        (C, H, W), the same where nothing is occluded.
    """
    last = stack.count - 1
    known = ~index.isnan()
    frame = torch.where(known, index, 0.0).clamp(0, last)
    depth = frame if defocus.near_first else last - frame
    zone = _zone(depth, known, defocus) & known
    if not bool(zone.any()):
        return picture
    place = zone.flatten().nonzero()[:, 0]
    own = torch.zeros_like(picture)
    width = depth.shape[1]
    own.flatten(1)[:, place] = _colours(stack, place, frame.flatten()[place], width, reach_frames(noise))[0].T
    veil = _veil(depth, own, zone, defocus)
    if not len(veil.place):
        return picture
    source = veil.depth if defocus.near_first else last - veil.depth
    nearer, seen = _colours(stack, veil.place, source, width, 0.75)
    behind = _behind(veil, own)
    trust = _trust(veil, own, behind, depth, zone, nearer, defocus, noise) * seen * (1 - clipped.flatten()[veil.place])
    return _put(picture, veil, own, behind, nearer, trust)


def _zone(depth: Tensor, known: Tensor, defocus: Defocus) -> Tensor:
    """(H, W) bool: where something is veiled, and all around that its colours are found from."""
    side = _CELLS_PX[-1]
    cells, (height, width) = Cells.of(depth[None], known, side), depth.shape
    rows, columns = cells.size
    low, high = (part.depth.view(1, rows, columns) for part in (cells.near, cells.far))
    veiled, reach = torch.zeros_like(low, dtype=torch.bool), LARGEST_PX // side + 1
    for ring in range(reach + 1):
        gap = high + F.max_pool2d(-low, 2 * ring + 1, 1, ring) + JUMP_FRAMES / 2
        veiled |= (gap < NOWHERE / 2) & (gap > defocus.gap_frames) & (gap * defocus.radius_px >= (ring - 1) * side)
    around = F.max_pool2d(veiled.to(torch.float32), 2 * reach + 1, 1, reach)[0] > 0
    return around.repeat_interleave(side, 0)[:height].repeat_interleave(side, 1)[:, :width]


def _colours(stack: FrameStack, place: Tensor, frame: Tensor, width: int, reach: float) -> tuple[Tensor, Tensor]:
    """(M, C) mean of the frames about a frame at some pixels, and (M) whether any of them is valid.

    Args:
        stack: The frames.
        place: (M) flat place of the pixels.
        frame: (M) sub-frame index.
        width: Columns of the picture.
        reach: Frames on either side that have weight.
    """
    order = frame.argsort(stable=True)
    ordered = frame[order]
    total, sums = torch.zeros_like(frame), None
    for k in range(stack.count):
        first, after = torch.searchsorted(ordered, torch.tensor([k - reach, k + reach], device=frame.device)).tolist()
        if first == after:
            continue
        chosen = order[first:after]
        part, there = _pixels(stack, k, place[chosen], width)
        weight = (1 - ((frame[chosen] - k) / reach).square()).clamp(min=0).square() * there
        sums = part.new_zeros((len(place), part.shape[1])) if sums is None else sums
        total.index_add_(0, chosen, weight)
        sums.index_add_(0, chosen, part * weight[:, None])
    if sums is None:
        raise ValueError("frame: must lie within the stack; got none that does; clamp it")
    return sums / torch.where(total > 0, total, 1)[:, None], total > 0


def _pixels(stack: FrameStack, k: int, place: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """(M, C) colours of frame k at some pixels, and (M) whether it is valid there."""
    row, column = place // width, place % width
    top, left = int(row.min()), int(column.min())
    window = slice(top, int(row.max()) + 1), slice(left, int(column.max()) + 1)
    part = stack.part(k, window)
    there = torch.ones_like(part[0]) if stack.valid is None else stack.valid[k][window].to(part.dtype)
    inside = (row - top) * part.shape[2] + column - left
    return part.flatten(1)[:, inside].T, there.flatten()[inside]


def _veil(depth: Tensor, own: Tensor, zone: Tensor, defocus: Defocus) -> Veil:
    """What nearer pixels lay over farther ones, disc by disc, on the coarser cells the larger the discs."""
    planes = torch.cat([depth[None], *_slope(depth), own])
    flat, width = depth.flatten(), depth.shape[1]
    place = zone.flatten().nonzero()[:, 0]
    sums = own.new_zeros((len(place), 2 + len(own)))
    for side in _CELLS_PX:
        low = max(defocus.gap_frames * defocus.radius_px, side * _DISC / 2 if side > 1 else 0)
        high = side * _DISC if side < _CELLS_PX[-1] else LARGEST_PX
        if low >= high:
            continue
        cells = Cells.of(planes, zone, side)
        veils = _cell_veils(cells, defocus, low / side, high / side)
        if veils is not None:
            sums += to_pixels(cells, veils, place, flat[place], width, max(JUMP_FRAMES, 0.5 * low / defocus.radius_px))
    veiled = (sums[:, 0] > _LEAST_SHARE).nonzero()[:, 0]
    share, sums = sums[veiled, 0], sums[veiled]
    most = share.clamp(max=0.95)
    return Veil(place[veiled], most, sums[:, 2:] * (most / share)[:, None], sums[:, 1] / share)


def _slope(depth: Tensor) -> tuple[Tensor, Tensor]:
    """(1, H, W) growth of depth a pixel along x and y, of the pixel's own surface."""
    return _slope_along(depth, 1), _slope_along(depth, 0)


def _slope_along(depth: Tensor, axis: int) -> Tensor:
    step = depth.diff(dim=axis)
    step = torch.where(step.abs() < _STEEPEST_FRAMES, step, torch.nan)
    end = torch.full_like(depth.narrow(axis, 0, 1), torch.nan)
    both = torch.stack([torch.cat([end, step], axis), torch.cat([step, end], axis)])
    return both.nanmean(0, keepdim=True)[0].nan_to_num(0.0)[None]


def _cell_veils(cells: Cells, defocus: Defocus, low: float, high: float) -> Tensor | None:
    """(h w, 2 + C) over the far side of every cell: share, and share times depth and colours, of nearer cells.

    A nearer pixel y and its disc's middle x belong to one ray, of slope s = (y - x) / radius; as many rays meet a pixel
    as dA(s) = |1 - s grad radius| dA / radius² (a pixel that the rays see from behind is met by none).

    Args:
        cells: Depth, its slopes along x and y, and colours.
        defocus: How surfaces blur.
        low: Least radius of the discs, in cells.
        high: Largest radius.
    """
    pace = defocus.radius_px / cells.side_px
    reach = math.ceil(high)
    veiled = (cells.far.depth - cells.nearest(reach)) * pace >= low
    place = (veiled & (cells.far.share > 0)).nonzero()[:, 0]
    if not len(place):
        return None
    here = cells.far.depth[place]
    sums = here.new_zeros((len(place), cells.near.values.shape[1] - 1))
    for x, y, number, there in Disc(cells, place, reach).each():
        for side in cells.sides:
            radius = (here[number] - side.depth[there]) * pace
            chosen = ((radius >= max(low, math.hypot(x, y) - 0.5)) & (radius < high)).nonzero()[:, 0]
            if len(chosen):
                values, share = side.values[there[chosen]], side.share[there[chosen]]
                slant = 1 + (values[:, 1] * x + values[:, 2] * y) * defocus.radius_px / radius[chosen]
                weight = (share * slant.clamp(0, _MOST_RAYS) * _in_disc(math.hypot(x, y), radius[chosen]))[:, None]
                values = torch.cat([values[:, :1], values[:, 3:]], 1)
                sums.index_add_(0, number[chosen], torch.cat([weight, values * weight], 1))
    return _everywhere(cells, place, sums)


def _everywhere(cells: Cells, place: Tensor, values: Tensor) -> Tensor:
    """(h w, P) values of some cells; zero elsewhere."""
    result = values.new_zeros((len(cells.far.depth), values.shape[1]))
    result[place] = values
    return result


def _in_disc(away: float, radius: Tensor) -> Tensor:
    """Share of a disc's area that a cell so far from its middle has."""
    return (radius + 0.5 - away).clamp(0, 1) / (math.pi * (radius.square() + 1 / 12))


def _behind(veil: Veil, own: Tensor) -> Tensor:
    """(M, C) colours of the farther surface."""
    here = own.flatten(1)[:, veil.place].T
    return ((here - veil.light) / (1 - veil.share).clamp(min=_LEAST_SEEN)[:, None]).clamp(min=0)


def _trust(
    veil: Veil,
    own: Tensor,
    behind: Tensor,
    depth: Tensor,
    zone: Tensor,
    nearer: Tensor,
    defocus: Defocus,
    noise: float,
) -> Tensor:
    """(M) how far the colours behind a veil are to be believed, from 0 to 1.

    Args:
        veil: The veil.
        own: (C, H, W) colours of every pixel in its own frames.
        behind: (M, C) colours behind the veil.
        depth: (H, W) in frames.
        zone: (H, W) bool: where own colours and depth are known.
        nearer: (M, C) what the frame that is focused on the nearer surface shows.
        defocus: How surfaces blur.
        noise: Standard deviation of the noise of a frame, white being one.
    """
    mean, variance = _around(veil, own, behind, depth, zone, defocus)
    wrong = (nearer - mean).square().mean(1)
    allowed = _TOLERANCE**2 * mean.square().mean(1) + _CONTRAST * variance + noise**2
    unlike = (nearer - veil.light / veil.share[:, None]).square().mean(1)
    wrong, unlike = _smoothed(torch.stack([wrong, unlike]), veil.place, depth.shape)
    allowed = allowed + _UNLIKE * unlike
    ramp = ((veil.share - _LEAST_SHARE) / (_FULL_SHARE - _LEAST_SHARE)).clamp(0, 1)
    seen = ((1 - veil.share - _LEAST_SEEN) / (_WELL_SEEN - _LEAST_SEEN)).clamp(0, 1)
    return ramp * seen / (1 + (wrong / (2 * allowed)).square())


def _smoothed(values: Tensor, place: Tensor, size: torch.Size) -> Tensor:
    """(P, M) means over the neighbours that have values."""
    planes = values.new_zeros((len(values) + 1, *size))
    planes.flatten(1)[:, place] = torch.cat([values, torch.ones_like(values[:1])])
    smooth = gaussian(planes, _SMOOTH_PX).flatten(1)[:, place]
    return smooth[:-1] / smooth[-1]


def _around(
    veil: Veil, own: Tensor, behind: Tensor, depth: Tensor, zone: Tensor, defocus: Defocus
) -> tuple[Tensor, Tensor]:
    """(M, C) mean and (M) variance of the farther surface over the disc that the nearer one's frame blurs it over."""
    flat = depth.flatten()
    planes = torch.cat([depth[None], own, own.new_zeros((3, *depth.shape))]).flatten(1)
    planes[1:-3, veil.place] = behind.T
    planes[-3] = planes[1:-3].square().mean(0)
    planes[-2, veil.place] = (flat[veil.place] - veil.depth) * defocus.radius_px
    planes[-1, veil.place] = 1.0
    cells = Cells.of(planes.view(-1, *depth.shape), zone, _PROOF_CELL_PX)
    place = (cells.far.values[:, -1] > 0).nonzero()[:, 0]
    radius = cells.far.values[place, -2] / cells.far.values[place, -1]
    radius = radius.clamp(_PROOF_CELL_PX, _PROOF_PX) / _PROOF_CELL_PX
    here = cells.far.depth[place]
    sums = here.new_zeros((len(place), 2 + len(own)))
    for x, y, number, there in Disc(cells, place, _PROOF_PX // _PROOF_CELL_PX).each():
        for side in cells.sides:
            like = (side.depth[there] - here[number]).abs() <= JUMP_FRAMES
            weight = (like * side.share[there] * _in_disc(math.hypot(x, y), radius[number]))[:, None]
            sums.index_add_(0, number, torch.cat([weight, side.values[there, 1:-2] * weight], 1))
    means = _everywhere(cells, place, sums[:, 1:] / sums[:, :1].clamp(min=1e-12))
    found = to_pixels(cells, means, veil.place, flat[veil.place], depth.shape[1], JUMP_FRAMES)
    mean, square = found[:, :-1], found[:, -1]
    return mean, (square - mean.square().mean(1)).clamp(min=0)


def _put(picture: Tensor, veil: Veil, own: Tensor, behind: Tensor, nearer: Tensor, trust: Tensor) -> Tensor:
    """The picture with the colours behind the veil, as far as they are believed."""
    apart = own.new_zeros(own.shape[1:])
    here = own.flatten(1)[:, veil.place].T
    apart.flatten()[veil.place] = (nearer - here).abs().amax(1)
    largest = F.max_pool2d(apart[None], 2 * _CHANGE_PX + 1, 1, _CHANGE_PX)[0].flatten()[veil.place, None]
    behind = torch.minimum(torch.maximum(behind, here - _LARGEST_CHANGE * largest), here + _LARGEST_CHANGE * largest)
    result = picture.flatten(1).clone()
    before = result[:, veil.place]
    result[:, veil.place] = before + trust * (behind.T - before)
    return result.view_as(picture)
