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

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.filters import gaussian
from dff.fuse.blend import reach_frames
from dff.fuse.cells import (
    JUMP_FRAMES,
    NOWHERE,
    Cells,
    disc_offsets,
    largest_around,
    least_around,
    to_pixels,
)
from dff.fuse.frames import WHOLE, FrameStack, Window
from dff.fuse.samples import colours_at
from dff.stack import FloatArray

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
_CONTEXT_PX = _PROOF_PX + 2 * _PROOF_CELL_PX + (_AGREED_CELLS + 1) * _AGREED_CELL_PX + 8
"""Rows around a pixel whose veils decide on its own,"""
HALO_PX = LARGEST_PX + 2 * LARGEST_CELL_PX + _CONTEXT_PX
"""and of all that it depends on."""
_NEARLY_FRAMES = 0.75
_LEAST_SHARE = 0.01
"""Share of a veil that begins to be taken off."""
_MOST_SHARE = 0.95
_SMOOTH_PX = 1.0
_CHANGE_PX = 2
"""How far around a pixel the two frames' difference bounds its change,"""
_SHOWN_CELL_PX, _SHOWN_CELLS = 4, 2
"""and cells around it within whose span of colours it stays."""


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

    depth: FloatArray
    """(H, W) in frames, larger where farther."""
    zone: NDArray[np.bool_]
    """(H, W): near veiled pixels, and known."""
    place: NDArray[np.intp]
    """(2, M) row and column of the zone's pixels."""
    values: FloatArray
    """(H, W, 3 + C) their depth, its growth along x and y, and their colours in their own frames; zero elsewhere."""
    radius_px: float

    @property
    def own(self) -> FloatArray:
        """(H, W, C) colours."""
        return self.values[..., 3:]


@dataclass(frozen=True)
class _Veil:
    """What lies over some pixels in their own frames."""

    place: NDArray[np.intp]
    """(2, M) row and column."""
    share: FloatArray
    """(M) share S of the light that is the veil's."""
    light: FloatArray
    """(M, C) that light V."""
    depth: FloatArray
    """(M) mean depth of what it comes from."""


@dataclass(frozen=True)
class _Sights:
    """(M, C) colours of veiled pixels."""

    own: FloatArray
    """In their own frames."""
    behind: FloatArray
    """Behind the veil."""
    nearer: FloatArray
    """In the frames that are focused on what veils them."""


def unveiled(
    picture: Tensor,
    stack: FrameStack,
    index: Tensor,
    defocus: Defocus,
    *,
    noise: float,
    clipped: Tensor,
    inside: Window = WHOLE,
) -> Tensor:
    """The picture with farther surfaces in their own colours beside occlusion edges.

    Args:
        picture: (C, H, W) all-in-focus picture, of which each pixel is used for itself alone.
        stack: The frames.
        index: (H, W) sub-frame index; NaN where unknown, which neither veils nor is veiled.
        defocus: How surfaces blur.
        noise: Standard deviation of the noise of a frame, white being one.
        clipped: (H, W) one around clipped highlights, where nothing is changed, else zero.
        inside: Rows and columns that count; what is around them is context.

    Returns:
        (C, H, W), the same where nothing is occluded.
    """
    last, places = np.float32(stack.count - 1), index.cpu().numpy()
    known = np.isfinite(places)
    frame = np.where(known, places, np.float32(0)).clip(0, last)
    depth = frame if defocus.near_first else last - frame
    zone = _zone(depth, known, defocus.radius_px)
    if zone is None:
        return picture
    surfaces = _surfaces(stack, frame, depth, zone, defocus.radius_px)
    veil = _veil(surfaces, inside)
    row, column = veil.place
    if not len(row):
        return picture
    own = colours_at(stack, veil.place, frame[row, column], reach_frames(noise))[0]
    source = veil.depth if defocus.near_first else last - veil.depth
    nearer, seen = colours_at(stack, veil.place, source, _NEARLY_FRAMES)
    sights = _Sights(own, _behind(veil, own), nearer)
    trust = _trust(veil, surfaces, sights, noise) * seen * (1 - clipped.cpu().numpy()[row, column])
    return _put(picture, veil, sights, trust)


def _zone(depth: FloatArray, known: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_] | None:
    """(H, W): where something is veiled, and all around that its colours are found from; None without any."""
    from dff.fuse.cell_loops import depth_range

    side, (height, width) = _ZONE_CELL_PX, depth.shape
    near, far = (np.empty((-(-height // side), -(-width // side)), np.float32) for _ in range(2))
    depth_range(depth, known, side, near, far)
    around, proof = np.zeros(near.shape, np.uint8), (_PROOF_PX + _PROOF_CELL_PX) // side + 1
    for ring in range((LARGEST_PX + LARGEST_CELL_PX) // side + 1):
        veiled = (far > -NOWHERE) & (near < NOWHERE)
        veiled &= (far - near) * np.float32(radius_px) >= max(LEAST_PX, (ring - 1) * side)
        if veiled.any():
            around |= largest_around(veiled.view(np.uint8), max(ring, proof) + LARGEST_CELL_PX // side)
        near = least_around(near, 1)
    return known & _at_pixels(around > 0, side, depth.shape) if around.any() else None


def _at_pixels(cells: NDArray[np.bool_], side_px: int, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) what is said of their cells."""
    return cells.repeat(side_px, 0)[: size[0]].repeat(side_px, 1)[:, : size[1]]


def _surfaces(
    stack: FrameStack, frame: FloatArray, depth: FloatArray, zone: NDArray[np.bool_], radius_px: float
) -> _Surfaces:
    from dff.fuse.veil_loops import describe

    place = np.array(zone.nonzero())
    colours = colours_at(stack, place, frame[place[0], place[1]], _NEARLY_FRAMES)[0]
    values = np.zeros((*depth.shape, 3 + colours.shape[1]), np.float32)
    describe(depth, *place, colours, values)
    return _Surfaces(depth, zone, place, values, radius_px)


def _veil(surfaces: _Surfaces, inside: Window) -> _Veil:
    """What nearer pixels lay over farther ones, disc by disc, on the coarser cells the larger the discs."""
    wanted = _near(surfaces.place, inside, surfaces.depth.shape)
    place = surfaces.place[:, wanted]
    sums = np.zeros((place.shape[1], surfaces.values.shape[2] - 1), np.float32)
    cells = Cells.of(surfaces.values, surfaces.zone)
    for side in _CELLS_PX:
        cells = cells.coarser()
        low = max(LEAST_PX, side * _DISC_CELLS / 2)
        high = side * _DISC_CELLS if side < LARGEST_CELL_PX else LARGEST_PX
        _add_cell_veils(sums, place, cells, surfaces, low, high)
    found = sums[:, 0] > _LEAST_SHARE
    sums, place = sums[found], np.ascontiguousarray(place[:, found])
    share = sums[:, 0]
    most = share.clip(max=_MOST_SHARE)
    return _Veil(place, most, sums[:, 2:] * (most / share)[:, None], sums[:, 1] / share)


def _near(place: NDArray[np.intp], inside: Window, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(M) whether places lie in a window or decide on what does."""
    near = np.ones(place.shape[1], bool)
    for along, part, side in zip(place, inside, size):
        start, stop, _ = part.indices(side)
        near &= (along >= start - _CONTEXT_PX) & (along < stop + _CONTEXT_PX)
    return near


def _add_cell_veils(
    sums: FloatArray, place: NDArray[np.intp], cells: Cells, surfaces: _Surfaces, low: float, high: float
) -> None:
    """Add share, share times depth, and light of the discs with radii from low to high.

    A nearer pixel y and its disc's middle x belong to one ray, of slope s = (y - x) / radius; as many rays meet a pixel
    as dA(s) = |1 - s grad radius| dA / radius² (a pixel that the rays see from behind is met by none).
    """
    from dff.fuse.cell_loops import add_veils

    side, reach, far = cells.side_px, math.ceil(high / cells.side_px), cells.far_depth
    middle = (far < NOWHERE) & ((far - cells.nearest(reach)) * np.float32(surfaces.radius_px) >= low)
    if not middle.any():
        return
    veils = np.zeros((*middle.shape, sums.shape[1]), np.float32)
    growth = np.float32(surfaces.radius_px), np.float32(surfaces.radius_px / side)
    limits = np.float32(low / side), np.float32(high / side), high == LARGEST_PX
    for part in cells.sides:
        given = part.framed_depth(reach), part.share, part.values, disc_offsets(reach)
        add_veils(middle, far, *given, growth, *limits, veils)
    near = largest_around(middle.view(np.uint8), 1) > 0
    wanted, within = surfaces.depth[place[0], place[1]], max(JUMP_FRAMES, 0.5 * low / surfaces.radius_px)
    to_pixels(veils, far, side, place, wanted, within, sums, near)


def _behind(veil: _Veil, own: FloatArray) -> FloatArray:
    """(M, C) colours of the farther surface."""
    from dff.fuse.veil_loops import LEAST_SEEN

    left = (1 - veil.share).clip(min=LEAST_SEEN)[:, None]
    return ((own - veil.light) / left).clip(min=0)


def _trust(veil: _Veil, surfaces: _Surfaces, sights: _Sights, noise: float) -> FloatArray:
    """(M) how far the colours behind a veil are to be believed, from 0 to 1."""
    from dff.fuse import veil_loops

    around, numbers = _around(veil, surfaces, sights), np.empty((len(veil.share), 3), np.float32)
    smooth, variance = _smoothed(sights.nearer, veil.place, surfaces.zone.shape), np.float32(noise**2)
    seen = sights.own, sights.behind, sights.nearer
    veil_loops.doubts(*seen, smooth, around, veil.share, veil.light, variance, numbers)
    numbers = _smoothed(numbers, veil.place, surfaces.zone.shape)
    proven, clear = np.empty_like(veil.share), np.empty_like(veil.share)
    veil_loops.proofs(numbers, around, veil.share, variance, proven, clear)
    return clear * proven * _agreed(proven, clear * numbers[:, 2], veil.place, surfaces.zone.shape)


def _agreed(proven: FloatArray, weight: FloatArray, place: NDArray[np.intp], size: tuple[int, ...]) -> FloatArray:
    """(M) from 0 to 1: whether most of what is to change around is proven; where depth is upside down, it is not."""
    from dff.fuse.veil_loops import sum_in_cells

    side = _AGREED_CELL_PX
    cells = np.zeros((-(-size[0] // side), -(-size[1] // side), 2), np.float32)
    sum_in_cells(np.stack([proven * weight, weight], 1), *place, side, cells)
    ones = np.ones(2 * _AGREED_CELLS + 1, np.float32)
    around = cv2.sepFilter2D(cells, cv2.CV_32F, ones, ones, borderType=cv2.BORDER_CONSTANT)
    part, whole = around[place[0] // side, place[1] // side].T
    share = part / whole.clip(min=1e-20)
    return ((share - _LEAST_AGREED) / (_WELL_AGREED - _LEAST_AGREED)).clip(0, 1)


def _smoothed(values: FloatArray, place: NDArray[np.intp], size: tuple[int, ...]) -> FloatArray:
    """(M, P) means over the neighbours that have values."""
    (top, left), (bottom, right) = place.min(1), place.max(1)
    rows, columns = place[0] - top, place[1] - left
    planes = np.zeros((values.shape[1] + 1, bottom - top + 1, right - left + 1), np.float32)
    for plane, numbers in zip(planes, values.T):
        plane[rows, columns] = numbers
    planes[-1, rows, columns] = 1
    smooth = gaussian(torch.from_numpy(planes), _SMOOTH_PX).numpy()
    return np.stack([plane[rows, columns] for plane in smooth[:-1]], 1) / smooth[-1][rows, columns][:, None]


def _around(veil: _Veil, surfaces: _Surfaces, sights: _Sights) -> FloatArray:
    """(M, C + 1) mean colour, and mean square, of the farther surface over the disc that the nearer one's frame
    blurs it over.
    """
    from dff.fuse import cell_loops, veil_loops

    side, channels = _PROOF_CELL_PX, sights.own.shape[1]
    values = np.zeros((*surfaces.depth.shape, channels + 4), np.float32)
    veil_loops.describe_behind(surfaces.values, *surfaces.place, values)
    depth = surfaces.depth[veil.place[0], veil.place[1]]
    radius_px = (depth - veil.depth) * np.float32(surfaces.radius_px)
    veil_loops.replace_behind(sights.behind, radius_px, *veil.place, values)
    cells = Cells.of(values, surfaces.zone).coarser().coarser()
    behind = (cells.rest.share > 0)[..., None]
    far, found = cells.far_depth, np.where(behind, cells.rest.values, cells.near.values)[..., -2:]
    middle = (far < NOWHERE) & (found[..., 1] > 0)
    radius = (found[..., 0] / np.where(middle, found[..., 1], 1)).clip(side, _PROOF_PX) / np.float32(side)
    sums = np.zeros((*middle.shape, channels + 2), np.float32)
    for part in cells.sides:
        given = part.framed_depth(_PROOF_PX // side), part.share, part.values, disc_offsets(_PROOF_PX // side)
        cell_loops.add_discs(middle, far, *given, radius, sums)
    means = sums[..., 1:] / sums[..., :1].clip(min=1e-12)
    where, around = np.where(middle, far, np.float32(NOWHERE)), np.zeros((len(depth), channels + 1), np.float32)
    to_pixels(means, where, side, veil.place, depth, JUMP_FRAMES, around, np.ones(middle.shape, bool))
    return around


def _put(picture: Tensor, veil: _Veil, sights: _Sights, trust: FloatArray) -> Tensor:
    """The picture with the colours behind the veil, as far as they are believed."""
    from dff.fuse import veil_loops

    size, side, channels = picture.shape[1:], _SHOWN_CELL_PX, len(picture)
    apart = np.zeros(size, np.float32)
    apart[veil.place[0], veil.place[1]] = np.abs(sights.nearer - sights.own).max(1)
    bounds = np.full((-(-size[0] // side), -(-size[1] // side), 2 * channels), -NOWHERE, np.float32)
    veil_loops.bounds_in_cells(sights.own, sights.nearer, *veil.place, side, bounds)
    low, high = (largest_around(part, _SHOWN_CELLS) for part in (bounds[..., :channels], bounds[..., channels:]))
    result = picture.cpu().numpy().copy()
    change = largest_around(apart, _CHANGE_PX)
    seen = sights.own, sights.behind, trust
    veil_loops.put(*seen, *veil.place, change, side, *(np.atleast_3d(part) for part in (low, high)), result)
    return torch.from_numpy(result).to(picture.device)
