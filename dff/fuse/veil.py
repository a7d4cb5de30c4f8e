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
from dff.fuse.cells import JUMP_FRAMES, NOWHERE, Around, Cells, disc_offsets, largest_around, share_of_disc, to_pixels
from dff.fuse.frames import FrameStack
from dff.fuse.samples import colours_at

LEAST_PX, LARGEST_PX = 3, 40
"""Radii of the discs between which a veil is taken off; it fades from three quarters of the largest on."""
_DISC_CELLS = 3
"""Cells in a disc's radius: half of that to all of it."""
_CELLS_PX = (2, 4, 8)
LARGEST_CELL_PX = _CELLS_PX[-1]
_ZONE_CELL_PX = 4
_PROOF_CELL_PX, _PROOF_PX = 4, 12
"""The proof is looked for on cells of so many pixels, over discs up to this radius."""
_AGREED_CELL_PX, _AGREED_CELLS = 8, 2
_LEAST_AGREED, _WELL_AGREED = 0.3, 0.5
"""Share of what is to change within so many cells that must be proven, for any of it to change, and for all."""
HALO_PX = LARGEST_PX + 2 * LARGEST_CELL_PX + _PROOF_PX + 2 * _PROOF_CELL_PX + (_AGREED_CELLS + 1) * _AGREED_CELL_PX + 8
"""Rows of context that a pixel depends on."""
_STEEPEST_FRAMES = 2.0
"""Neighbouring pixels that differ by more are no slope."""
_MOST_RAYS = 3.0
_NEARLY_FRAMES = 0.75
_LEAST_SHARE, _FULL_SHARE = 0.01, 0.05
"""Shares of the veil between which it begins to be taken off,"""
_LEAST_SEEN, _WELL_SEEN = 0.25, 0.5
"""and of what is left of the surface behind it."""
_TOLERANCE, _CONTRAST, _UNLIKE = 0.08, 0.1, 0.1
"""What the proof may be off by: a share of the light, of the variance around, and of how unlike the surfaces are."""
_SMOOTH_PX = 1.0
_SHARP = 5.0
"""How much detail finer than this counts against a proof: the farther surface has none in the nearer one's frame."""
_CHANGE_PX, _LARGEST_CHANGE = 2, 3.0
"""No colour changes by more than this many times what the two frames differ by around it,"""
_SHOWN_CELL_PX, _SHOWN_CELLS, _SLACK = 4, 2, 0.25
"""nor leaves the span of what they show within so many cells by more than this share of it."""


@dataclass(frozen=True)
class Defocus:
    """How a surface blurs away from its own frame."""

    radius_px: float
    """Growth of the blur disc's radius a frame."""
    near_first: bool
    """Whether the first frame is focused nearest to the camera."""


@dataclass(frozen=True)
class _Surfaces:
    """What is known of the subject."""

    depth: Tensor
    """(H, W) in frames, larger where farther."""
    zone: Tensor
    """(H, W) bool: near veiled pixels, and known."""
    own: Tensor
    """(C, H, W) colours of the zone's pixels in their own frames; zero elsewhere."""
    radius_px: float

    def own_at(self, place: Tensor) -> Tensor:
        """(M, C) colours at some pixels."""
        return self.own[:, place[0], place[1]].T


@dataclass(frozen=True)
class _Veil:
    """What lies over some pixels in their own frames."""

    place: Tensor
    """(2, M) row and column."""
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
    last, known = stack.count - 1, ~index.isnan()
    frame = torch.where(known, index, 0.0).clamp(0, last)
    depth = frame if defocus.near_first else last - frame
    zone = _zone(depth, known, defocus.radius_px) & known
    place = torch.stack(zone.nonzero(as_tuple=True))
    if not place.shape[1]:
        return picture
    own = torch.zeros_like(picture)
    own[:, place[0], place[1]] = colours_at(stack, place, frame[place[0], place[1]], _NEARLY_FRAMES)[0].T
    surfaces = _Surfaces(depth, zone, own, defocus.radius_px)
    veil = _veil(surfaces)
    row, column = veil.place
    if not len(row):
        return picture
    own[:, row, column] = colours_at(stack, veil.place, frame[row, column], reach_frames(noise))[0].T
    source = veil.depth if defocus.near_first else last - veil.depth
    nearer, seen = colours_at(stack, veil.place, source, _NEARLY_FRAMES)
    behind = _behind(veil, surfaces)
    trust = _trust(veil, surfaces, behind, nearer, noise) * seen * (1 - clipped[row, column])
    return _put(picture, veil, surfaces, behind, nearer, trust)


def _zone(depth: Tensor, known: Tensor, radius_px: float) -> Tensor:
    """(H, W) bool: where something is veiled, and all around that its colours are found from."""
    side, (height, width) = _ZONE_CELL_PX, depth.shape
    low, high = (
        F.max_pool2d(torch.where(known, sign * depth, -NOWHERE)[None], side, ceil_mode=True)[0] for sign in (-1, 1)
    )
    around, proof = torch.zeros_like(low), (_PROOF_PX + _PROOF_CELL_PX) // side + 1
    for ring in range((LARGEST_PX + LARGEST_CELL_PX) // side + 1):
        radius = (high + low) * radius_px
        veiled = (high > -NOWHERE) & (low > -NOWHERE) & (radius >= max(LEAST_PX, (ring - 1) * side))
        if bool(veiled.any()):
            reach = max(ring, proof) + LARGEST_CELL_PX // side
            around = torch.maximum(around, largest_around(veiled.to(around), reach))
        low = largest_around(low, 1)
    return (around > 0).repeat_interleave(side, 0)[:height].repeat_interleave(side, 1)[:, :width]


def _veil(surfaces: _Surfaces) -> _Veil:
    """What nearer pixels lay over farther ones, disc by disc, on the coarser cells the larger the discs."""
    planes = torch.cat([surfaces.depth[None], *_slope(surfaces.depth), surfaces.own])
    sums = surfaces.own.new_zeros((2 + len(surfaces.own), *surfaces.depth.shape))
    cells = Cells.of(planes, surfaces.zone)
    for side in _CELLS_PX:
        cells = cells.coarser()
        low = max(LEAST_PX, side * _DISC_CELLS / 2)
        high = side * _DISC_CELLS if side < LARGEST_CELL_PX else LARGEST_PX
        _add_cell_veils(sums, cells, surfaces, low, high)
    share, depth, light = sums[0], sums[1], sums[2:]
    place = torch.stack((share > _LEAST_SHARE).nonzero(as_tuple=True))
    share, depth, light = share[place[0], place[1]], depth[place[0], place[1]], light[:, place[0], place[1]].T
    most = share.clamp(max=0.95)
    return _Veil(place, most, light * (most / share)[:, None], depth / share)


def _slope(depth: Tensor) -> tuple[Tensor, Tensor]:
    """(1, H, W) growth of depth a pixel along x and y, of the pixel's own surface."""
    return _slope_along(depth, 1), _slope_along(depth, 0)


def _slope_along(depth: Tensor, axis: int) -> Tensor:
    step = depth.diff(dim=axis)
    smooth = (step.abs() < _STEEPEST_FRAMES).to(depth.dtype)
    end = torch.zeros_like(depth.narrow(axis, 0, 1))
    total, count = (torch.cat([end, part], axis) + torch.cat([part, end], axis) for part in (step * smooth, smooth))
    return (total / count.clamp(min=1))[None]


def _add_cell_veils(sums: Tensor, cells: Cells, surfaces: _Surfaces, low: float, high: float) -> None:
    """Add share, share times depth, and light of the discs with radii from low to high.

    A nearer pixel y and its disc's middle x belong to one ray, of slope s = (y - x) / radius; as many rays meet a pixel
    as dA(s) = |1 - s grad radius| dA / radius² (a pixel that the rays see from behind is met by none).
    """
    pace, reach, far = surfaces.radius_px / cells.side_px, math.ceil(high / cells.side_px), cells.far
    middle = (far.share > 0) & ((far.depth - cells.nearest(reach)) * surfaces.radius_px >= low)
    if not bool(middle.any()):
        return
    here, most = far.depth[middle], high / cells.side_px
    veils = here.new_zeros((len(here), len(sums)))
    for side in cells.sides:
        around = Around.of(side, middle, reach)
        for x, y in disc_offsets(reach):
            there, away = around.at(x, y), math.hypot(x, y)
            radius = (here - around.depth[there]) * pace
            number = ((radius >= max(low / cells.side_px, away - 0.5)) & (radius < most)).nonzero()[:, 0]
            if len(number):
                values, radius = around.table[there[number]], radius[number]
                slant = 1 + (values[:, 2] * x + values[:, 3] * y) * surfaces.radius_px / radius
                weight = values[:, 0] * slant.clamp(0, _MOST_RAYS) * share_of_disc(away, radius)
                if high == LARGEST_PX:
                    weight = weight * (4 * (1 - radius / most)).clamp(max=1)
                values = torch.cat([torch.ones_like(values[:, :1]), values[:, 1:2], values[:, 4:]], 1)
                veils.index_add_(0, number, values * weight[:, None])
    _spread(sums, cells, middle, veils, surfaces, max(JUMP_FRAMES, 0.5 * low / surfaces.radius_px))


def _spread(sums: Tensor, cells: Cells, middle: Tensor, veils: Tensor, surfaces: _Surfaces, within: float) -> None:
    """Add what was found for some cells at their pixels, and at those around."""
    planes = veils.new_zeros((veils.shape[1], *middle.shape))
    planes[:, middle] = veils.T
    place = torch.stack((_pixels_near(middle, cells.side_px, surfaces.zone) & surfaces.zone).nonzero(as_tuple=True))
    wanted = surfaces.depth[place[0], place[1]]
    depth = torch.where(cells.far.share > 0, cells.far.depth, NOWHERE)
    sums[:, place[0], place[1]] += to_pixels(planes, depth, cells.side_px, place, wanted, within).T


def _pixels_near(cells: Tensor, side_px: int, like: Tensor) -> Tensor:
    """(H, W) bool: in some cells (h, w) or beside."""
    near = largest_around(cells.to(torch.float32), 1) > 0
    return near.repeat_interleave(side_px, 0)[: len(like)].repeat_interleave(side_px, 1)[:, : like.shape[1]]


def _behind(veil: _Veil, surfaces: _Surfaces) -> Tensor:
    """(M, C) colours of the farther surface."""
    left = (1 - veil.share).clamp(min=_LEAST_SEEN)[:, None]
    return ((surfaces.own_at(veil.place) - veil.light) / left).clamp(min=0)


def _trust(veil: _Veil, surfaces: _Surfaces, behind: Tensor, nearer: Tensor, noise: float) -> Tensor:
    """(M) how far the colours behind a veil are to be believed, from 0 to 1.

    Args:
        veil: The veil.
        surfaces: The subject.
        behind: (M, C) colours behind the veil.
        nearer: (M, C) what the frame that is focused on the nearer surface shows.
        noise: Standard deviation of the noise of a frame, white being one.
    """
    mean, variance = _around(veil, surfaces, behind)
    wrong = (nearer - mean).square().mean(1)
    unlike = (nearer - veil.light / veil.share[:, None]).square().mean(1)
    change = (behind - surfaces.own_at(veil.place)).square().mean(1)
    sharp = (nearer - _smoothed(nearer.T, veil.place, surfaces.depth).T).square().mean(1)
    wrong = wrong + _SHARP * (sharp - noise**2).clamp(min=0)
    wrong, unlike, change = _smoothed(torch.stack([wrong, unlike, change]), veil.place, surfaces.depth)
    allowed = _TOLERANCE**2 * mean.square().mean(1) + _CONTRAST * variance + _UNLIKE * unlike + noise**2
    ramp = ((veil.share - _LEAST_SHARE) / (_FULL_SHARE - _LEAST_SHARE)).clamp(0, 1)
    seen = ((1 - veil.share - _LEAST_SEEN) / (_WELL_SEEN - _LEAST_SEEN)).clamp(0, 1)
    clear = ramp * seen * change / (change + noise**2)
    proven = 1 / (1 + (wrong / (2 * allowed)).square())
    return clear * proven * _agreed(proven, clear * change, veil.place, surfaces.depth)


def _agreed(proven: Tensor, weight: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """(M) from 0 to 1: whether most of what is to change around is proven; where depth is upside down, it is not."""
    side, reach = _AGREED_CELL_PX, _AGREED_CELLS
    planes = like.new_zeros((2, *like.shape))
    planes[:, place[0], place[1]] = torch.stack([proven * weight, weight])
    cells = F.avg_pool2d(F.pad(planes, (0, -like.shape[1] % side, 0, -like.shape[0] % side)), side)
    around = F.avg_pool2d(cells, 2 * reach + 1, 1, reach)[:, place[0] // side, place[1] // side]
    share = around[0] / around[1].clamp(min=1e-20)
    return ((share - _LEAST_AGREED) / (_WELL_AGREED - _LEAST_AGREED)).clamp(0, 1)


def _smoothed(values: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """(P, M) means over the neighbours that have values."""
    planes = values.new_zeros((len(values) + 1, *like.shape))
    planes[:, place[0], place[1]] = torch.cat([values, torch.ones_like(values[:1])])
    smooth = gaussian(planes, _SMOOTH_PX)[:, place[0], place[1]]
    return smooth[:-1] / smooth[-1]


def _around(veil: _Veil, surfaces: _Surfaces, behind: Tensor) -> tuple[Tensor, Tensor]:
    """(M, C) mean and (M) variance of the farther surface over the disc that the nearer one's frame blurs it over."""
    depth, (row, column) = surfaces.depth, veil.place
    planes = torch.cat([depth[None], surfaces.own, depth.new_zeros((3, *depth.shape))])
    planes[1:-3, row, column] = behind.T
    planes[-3] = planes[1:-3].square().mean(0)
    planes[-2, row, column] = (depth[row, column] - veil.depth) * surfaces.radius_px
    planes[-1, row, column] = 1.0
    cells = Cells.of(planes, surfaces.zone).coarser().coarser()
    far = cells.far
    middle = (far.share > 0) & (far.values[-1] > 0)
    here = far.depth[middle]
    radius = (far.values[-2][middle] / far.values[-1][middle]).clamp(_PROOF_CELL_PX, _PROOF_PX) / _PROOF_CELL_PX
    sums = here.new_zeros((len(here), 2 + len(surfaces.own)))
    for side in cells.sides:
        around = Around.of(side, middle, _PROOF_PX // _PROOF_CELL_PX)
        for x, y in disc_offsets(_PROOF_PX // _PROOF_CELL_PX):
            there = around.at(x, y)
            number = ((around.depth[there] - here).abs() <= JUMP_FRAMES).nonzero()[:, 0]
            values = around.table[there[number]]
            weight = values[:, :1] * share_of_disc(math.hypot(x, y), radius[number])[:, None]
            sums.index_add_(0, number, torch.cat([weight, values[:, 2:-2] * weight], 1))
    means = here.new_zeros((sums.shape[1] - 1, *middle.shape))
    means[:, middle] = (sums[:, 1:] / sums[:, :1].clamp(min=1e-12)).T
    where = torch.where(middle, far.depth, NOWHERE)
    found = to_pixels(means, where, _PROOF_CELL_PX, veil.place, depth[row, column], JUMP_FRAMES)
    mean, square = found[:, :-1], found[:, -1]
    return mean, (square - mean.square().mean(1)).clamp(min=0)


def _shown(low: Tensor, high: Tensor, place: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(M, C) least and largest of colours (M, C) of the pixels around each."""
    bounds, side = [], _SHOWN_CELL_PX
    for values in (-low, high):
        planes = like.new_full((values.shape[1], *like.shape), -NOWHERE)
        planes[:, place[0], place[1]] = values.T
        cells = F.max_pool2d(planes, side, ceil_mode=True)
        largest = torch.stack([largest_around(plane, _SHOWN_CELLS) for plane in cells])
        bounds.append(largest[:, place[0] // side, place[1] // side].T)
    return -bounds[0], bounds[1]


def _put(picture: Tensor, veil: _Veil, surfaces: _Surfaces, behind: Tensor, nearer: Tensor, trust: Tensor) -> Tensor:
    """The picture with the colours behind the veil, as far as they are believed."""
    (row, column), own = veil.place, surfaces.own_at(veil.place)
    apart = torch.zeros_like(surfaces.depth)
    apart[row, column] = (nearer - own).abs().amax(1)
    most = _LARGEST_CHANGE * largest_around(apart, _CHANGE_PX)[row, column][:, None]
    behind = torch.minimum(torch.maximum(behind, own - most), own + most)
    low, high = _shown(torch.minimum(own, nearer), torch.maximum(own, nearer), veil.place, surfaces.depth)
    slack = _SLACK * (high - low)
    behind = torch.minimum(torch.maximum(behind, low - slack), high + slack)
    result = picture.clone()
    before = result[:, row, column]
    result[:, row, column] = before + trust * (behind.T - before)
    return result
