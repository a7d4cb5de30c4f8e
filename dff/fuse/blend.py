"""Laplacian-pyramid blending: in every band the frames in focus near by, and among them those with the most detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.ahead import ahead
from dff.filters import by_opencv, gaussian
from dff.fuse.bands import NOISE_GAIN, collapse, laplacian_pyramid
from dff.fuse.blocks import Blocks, Detail, Near, blend_blocks, plane_shares, window_shares
from dff.fuse.frames import WHOLE, FrameStack, Window
from dff.fuse.weights import PlaneOf, WindowWeights

ENERGY_SIGMA_PX = 0.7
_NOISE_FACTOR = 8.0
"""Energies below this many times that of noise hardly count."""
_LEAST_GAIN = 0.05
"""Noise gain that no band is taken to have less of: coarse bands are spoiled by other things than noise."""
_AROUND = 0.3
"""Weight of a frame in focus near by, against one in focus here."""
_CELL_PX, _CELLS = 4, 2
"""Near by is what lies within so many cells of so many pixels."""
LANES = 32
"""Windows begin at multiples of so many columns: the vector units then take the same pixels together in all."""


def pyramid_blend(
    stack: FrameStack,
    weight: PlaneOf | WindowWeights,
    *,
    noise: float,
    levels: int,
    clipped: Tensor | None = None,
    inside: Window = WHOLE,
) -> Tensor:
    """Mean of every band of the frames with weights of its own, put together again.

    In a band frame k weighs max(w, 0.3 w') (1 + x)^6, where w is its weight, w' the largest weight within some 10 px
    and x the local energy of the band over that of noise. So at a depth step both sides' frames are candidates and
    detail decides, band by band: the blurred rim of one side has less of it than the other side in focus. Frames
    that are in focus nowhere near have no say, whatever they show: the discs of defocused highlights have sharp
    edges. The low-pass rest has the weights alone; the surroundings of clipped highlights have w alone.

    Bands: Burt and Adelson, IEEE Transactions on Communications 31(4), 1983.

    Args:
        stack: The frames. What they hold where they are not valid should continue the picture: it has no weight,
            but the bands of its neighbours reach into it.
        weight: (H, W) weight of frame k; of window weights, only those rows and columns of a frame are looked at
            that its weight depends on.
        noise: Standard deviation of the noise of a frame, white being one.
        levels: Number of halvings.
        clipped: (H, W) one around clipped highlights, else zero; without it all weights are w.
        inside: Rows and columns that count; what is around them need not be finished.

    Returns:
        (C, H, W).
    """
    plane = weight.index if isinstance(weight, WindowWeights) else weight(0)
    if by_opencv(plane):
        return _by_blocks(stack, weight, clipped, noise, Blocks.of((plane.shape[0], plane.shape[1]), levels, inside))
    size = plane.shape
    gains = _energy_gains(plane.new_ones(()).expand(size) if clipped is None else 1 - clipped, noise, levels)
    blend: list[Tensor] = []
    totals: list[Tensor] = []
    windows = list(_windows(weight, stack.count, size, levels))
    for (k, window), part in zip(windows, ahead(lambda item: stack.part(*item), windows)):
        bands = laplacian_pyramid(part, levels)
        places = [_halved(window, level) for level in range(levels + 1)]
        here = _with_near(stack, weight, k, window, clipped)
        shares = _band_weights(bands, here, gains, places)
        if not blend:
            totals = [bands[0].new_zeros(side) for side in _sizes(size, levels)]
            blend = [total.new_zeros((len(bands[0]), *total.shape)) for total in totals]
        for sums, total, place, band, share in zip(blend, totals, places, bands, shares):
            _add_weighted(sums, total, place, band, share)
    return collapse([band.div_(total) for band, total in zip(blend, totals)])


def _by_blocks(
    stack: FrameStack, weight: PlaneOf | WindowWeights, clipped: Tensor | None, noise: float, blocks: Blocks
) -> Tensor:
    """The same on the processor."""
    spared = torch.zeros(blocks.size) if clipped is None else clipped
    detail = Detail(_noise_gains(noise, blocks.levels), spared.numpy(), ENERGY_SIGMA_PX)
    if isinstance(weight, WindowWeights):
        near = Near(_CELL_PX, _CELLS, 0.0 if clipped is None else _AROUND)
        shares = window_shares(stack, weight, near, detail.clipped, blocks, detail.reach)
    else:
        shares = plane_shares(stack, weight, blocks, detail.reach)
    return blend_blocks(stack, shares, blocks, detail)


def _windows(
    weight: PlaneOf | WindowWeights, count: int, size: tuple[int, ...], levels: int
) -> Iterator[tuple[int, Window]]:
    """The frames that have weight, with the rows and columns that their bands are needed in."""
    for k in range(count):
        extent = weight.extent(k) if isinstance(weight, WindowWeights) else ((0, size[0]), (0, size[1]))
        if extent is not None:
            rows, columns = (
                slice(max(0, start - margin) // step * step, min(side, -(-(stop + margin) // step) * step))
                for (start, stop), side, step, margin in zip(
                    extent, size, (2**levels, max(LANES, 2**levels)), (halo_px(levels),) * 2
                )
            )
            yield k, (rows, columns)


def halo_px(levels: int) -> int:
    """Rows and columns around a pixel that the bands there depend on, and the weights."""
    return 6 * 2**levels


def _halved(window: Window, level: int) -> Window:
    """What a window, which starts at whole pixels of the coarsest level, is at a level."""
    rows, columns = (slice(part.start >> level, -(-part.stop >> level)) for part in window)
    return rows, columns


def _sizes(size: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    return [(-(-size[0] >> level), -(-size[1] >> level)) for level in range(levels + 1)]


def _with_near(
    stack: FrameStack, weight: PlaneOf | WindowWeights, k: int, window: Window, clipped: Tensor | None
) -> Tensor:
    """(h, w) weight of frame k in a window, and a share of what it has near by; all the same where none is valid."""
    here = weight(k, window) if isinstance(weight, WindowWeights) else weight(k)
    if clipped is not None:
        near = largest_near(here).mul_(1 - clipped[window]).mul_(_AROUND)
        here = torch.maximum(here, near, out=near)
        here = stack.usable(k, here, 0.0, window)
    return here if stack.bare is None else torch.where(stack.bare[window], 1.0, here)


def largest_near(plane: Tensor) -> Tensor:
    """(H, W) largest value of a plane within some cells of each pixel's own; cells start at multiples of their side."""
    height, width = plane.shape
    rows, columns = -(-height // _CELL_PX), -(-width // _CELL_PX)
    padded = F.pad(plane, (0, columns * _CELL_PX - width, 0, rows * _CELL_PX - height), value=-torch.inf)
    cells = padded.view(rows, _CELL_PX, -1).amax(1).view(rows, columns, _CELL_PX).amax(2)
    largest = _largest_along(_largest_along(cells, 0), 1)
    spread = largest[:, None, :, None].expand(rows, _CELL_PX, columns, _CELL_PX)
    return spread.reshape(rows * _CELL_PX, columns * _CELL_PX)[:height, :width].contiguous()


def _largest_along(cells: Tensor, axis: int) -> Tensor:
    """The largest of some cells on either side along an axis."""
    largest, side = cells.clone(), cells.shape[axis]
    for away in range(1, min(_CELLS, side - 1) + 1):
        for here, there in ((0, away), (away, 0)):
            part = largest.narrow(axis, here, side - away)
            torch.maximum(part, cells.narrow(axis, there, side - away), out=part)
    return largest


def _energy_gains(decides: Tensor, noise: float, levels: int) -> list[Tensor]:
    """One over the energy of noise in each band, zero where detail does not decide."""
    gains = _noise_gains(noise, levels)
    return [(_at_level(decides, level) * gain).contiguous() for level, gain in enumerate(gains)]


def _noise_gains(noise: float, levels: int) -> list[float]:
    return [1 / (_NOISE_FACTOR * noise**2 * (gain + _LEAST_GAIN)) for gain in NOISE_GAIN[:levels]]


def _band_weights(
    bands: Sequence[Tensor], weight: Tensor, gains: Sequence[Tensor], places: Sequence[Window]
) -> list[Tensor]:
    levels = len(bands) - 1
    weights = [_band_weight(bands[k], weight, gains[k], places[k], k) for k in range(levels)]
    return [*weights, _at_level(weight, levels)]


def _band_weight(band: Tensor, weight: Tensor, gain: Tensor, place: Window, level: int) -> Tensor:
    energy = band[0].square()
    for plane in band[1:]:
        energy += plane.square()
    energy = gaussian(energy[None], ENERGY_SIGMA_PX)[0].mul_(gain[place] / len(band))
    return _sixth_power(energy.add_(1)).mul_(_at_level(weight, level))


def _add_weighted(sums: Tensor, total: Tensor, place: Window, band: Tensor, share: Tensor) -> None:
    """Add a band times its weights (h, w), and the weights, where they lie in the sums (C, H, W) and (H, W)."""
    rows, columns = place
    sums[:, rows, columns].add_(band.mul_(share))
    total[rows, columns].add_(share)


def _at_level(plane: Tensor, level: int) -> Tensor:
    return plane[:: 2**level, :: 2**level]


def _sixth_power(values: Tensor) -> Tensor:
    """In place."""
    return values.mul_(values.square()).square_()


def window_frames(clipped: Tensor, noise: float) -> Tensor:
    """(H, W) frames on either side of the index that have weight: more in noise, one around clipped highlights.

    The mean over s frames has a variance that falls as noise² / s and a blur that grows as s², so that the best s
    goes with the power 2/5 of the noise. Defocused highlights are clipped over a larger disc and brighten what
    surrounds them, so next to them the index alone is followed.
    """
    return torch.where(clipped > 0, 0.9, torch.full_like(clipped, reach_frames(noise)))


def reach_frames(noise: float) -> float:
    """Frames on either side of the index over which noise of a standard deviation is averaged away."""
    return min(max(2.0 * (noise / 0.004) ** 0.4, 1.5), 6.5)
