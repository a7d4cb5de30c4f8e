"""The stack network on rows of a picture, as they come: for memory that does not depend on the picture's height.

Rows of all frames go in from top to bottom; each layer works on a row as soon as it has the rows below that it looks
at, and keeps those above in rings. Nothing is worked on twice and no context is cut, so that it does not matter how
many rows come at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dff import filters
from dff.focus import stack_kernels as kernels
from dff.focus import stack_sight as sight
from dff.focus.evidence import BROAD_SIGMA_CELLS, CORNER, FINE_SIGMA_PX, NOISE_FLOOR, RING, WIDE_SIGMA_CELLS
from dff.focus.lanes import converts_halves
from dff.focus.measure import CELL
from dff.focus.sesf_stack import EDGE_PX
from dff.focus.stack_scratch import BANK, CHANNELS, MARGIN, PIXELS, SCRATCH_ROWS, SITES, packed

if TYPE_CHECKING:
    from dff.focus.sesf_stack import SesfStack
    from dff.focus.stack_layers import Block, Exchange, Norm

Floats = NDArray[np.float32]

BAND = 2
"""Rows of sites that pass through a layer at a time."""
STRIP = 8
"""Rows of sites that are taken in at a time, at most."""
_SMOOTH = 6
"""Sites on either side that energies are averaged over, at most."""


def _quarter(kernel: Floats) -> Floats:
    """A kernel that is the same in its four quarters, from its centre, filled up with zeros."""
    part = kernel[tuple(slice(side // 2, None) for side in kernel.shape)]
    return np.ascontiguousarray(np.pad(part, [(0, sight.REACH + 1 - side) for side in part.shape]), np.float32)


_FILTERS = _quarter(RING), _quarter(CORNER), _quarter(filters.gaussian_kernel(FINE_SIGMA_PX))


@dataclass(frozen=True)
class Weights:
    """The numbers of the network as the kernels take them."""

    bank: Floats
    stem: Floats
    stem_bias: Floats
    told: list[tuple[Floats, ...]]
    """Of each exchange: scale of the norm before, focus, squeeze and its bias."""
    around: list[tuple[Floats, Floats]]
    """Of each exchange: what the stack makes of the sites around."""
    mix: list[tuple[Floats, ...]]
    """Of each block: excitation and its bias, own and neighbours' part of the mixture and its bias."""
    look: list[tuple[int, Floats, Floats, Floats, Floats]]
    """Of each block: dilation, taps and their bias, last layer and its bias."""
    decide: tuple[Any, ...]
    """Gains, log-odds of no answer, correction."""

    @classmethod
    def of(cls, network: SesfStack) -> Weights:
        """Those of a network."""
        blocks = [block for block in network.blocks]
        ends = [*((block.exchange, block.norm) for block in blocks), (network.exchange, network.norm)]
        return cls(
            _taps(network.filters()),
            _matrix(0.3 * F.pad(network.stem.weight[:, :, 0, 0], (0, 1))),
            _array(network.stem.bias),
            [_told(exchange, norm) for exchange, norm in ends],  # type: ignore[arg-type]
            [(_taps(exchange.around.weight), _array(exchange.around.bias)) for exchange, _ in ends],  # type: ignore
            [_mix(block) for block in blocks],  # type: ignore[arg-type]
            [_look(block) for block in blocks],  # type: ignore[arg-type]
            (
                *_layer(network.gains),
                *_layer(network.unanswered),
                _matrix(network.correction.weight[:, :, 0, 0] * network.norm.scale),
            ),
        )


def _array(values: Any) -> Floats:
    return np.ascontiguousarray(values.detach().cpu().numpy(), np.float32)


def _matrix(weight: Tensor) -> Floats:
    return packed(_array(weight))


def _taps(weight: Tensor) -> Floats:
    """(out, in, 3, 3) tap after tap."""
    return np.concatenate([_matrix(tap) for tap in weight.permute(2, 3, 0, 1).flatten(0, 1)])


def _layer(layer: nn.Conv2d) -> tuple[Floats, Floats]:
    bias = np.zeros(-(-layer.out_channels // 8) * 8, np.float32)
    bias[: layer.out_channels] = _array(layer.bias)
    return _matrix(layer.weight[:, :, 0, 0]), bias


def _told(exchange: Exchange, norm: Norm) -> tuple[Floats, ...]:
    focus = exchange.focus.weight.flatten() * norm.scale
    return _array(norm.scale), _array(focus), *_layer(exchange.squeeze)


def _mix(block: Block) -> tuple[Floats, ...]:
    own, difference = block.mix.weight[:, :, 0, 0].chunk(2, 1)
    mixture = torch.cat([own - difference, difference / 2], 1) * block.norm.scale.repeat(2)
    return *_layer(block.excite), _matrix(mixture), _array(block.mix.bias)


def _look(block: Block) -> tuple[int, Floats, Floats, Floats, Floats]:
    return block.reach, _array(block.look.weight.flatten()), _array(block.look.bias), *_layer(block.out)


@dataclass(frozen=True)
class _Step:
    """What one layer does with a row of sites."""

    lag: int
    """Rows that it is behind the noise."""
    work: Callable[[int, int, int, int, Floats], None]
    """Of the rows from, to and the segments from, to; with a scratch array."""


class Limits(NamedTuple):
    """Of what the network decides."""

    steepness: float | np.float32
    """Of the log-odds of an answer over the contrast"""
    least_contrast: float | np.float32
    """from which on there is one."""
    sure: float | np.float32
    """Largest log-odds of having no answer, or of having one."""
    least_share: float | np.float32
    """Least logarithm of a probability."""


class StackRows:
    """A picture's rows of all frames on their way through the network."""

    def __init__(
        self,
        weights: Weights,
        limits: Limits,
        count: int,
        size_px: tuple[int, int],
        *,
        pixelwise: bool = False,
        halves: bool = True,
    ):
        """Make room for a picture.

        Args:
            weights: The network's numbers.
            limits: Of what it decides.
            count: Number of frames.
            size_px: Height and width.
            pixelwise: Give every pixel's probabilities instead of those of cells of CELL x CELL.
            halves: Keep what is looked at around in half precision, where the processor can.
        """
        self.weights, self.count, self.pixelwise = weights, count, pixelwise
        self.height, self.width = (-(-side // CELL) for side in size_px)
        self.segments = -(-self.width // SITES)
        self.threads = min(self.segments, torch.get_num_threads())
        self.scratch = [np.zeros(SCRATCH_ROWS * SITES, np.float32) for _ in range(self.threads)]
        self.taken, self.known, self.passed = 0, 0, 0
        """Rows of sites that have been taken in, whose noise is known, and that went into the layers."""
        self.pool = ThreadPoolExecutor(self.threads)
        self.limits = Limits(*(np.float32(limit) for limit in limits))
        self.kept = np.uint16 if halves and converts_halves() else np.float32
        self.steps = self._layers()
        self.lag = self.steps[-1].lag
        """Rows that the answer is behind the noise."""
        self.behind = STRIP + _SMOOTH + self.lag + BAND + 1
        self.pixels = self._ring(STRIP + _SMOOTH + 4, PIXELS)
        self.fine, self.cells = self._ring(STRIP + _SMOOTH + 4, PIXELS), self._ring(self.behind, 4)
        self.noise, self.contrast = self._ring(self.behind, 1, 1), self._ring(self.behind, 1, 1)
        self.noise += 1
        self.logits = np.empty((count, BAND, PIXELS, self.width), np.float32)
        self.answered = np.empty((BAND, PIXELS, self.width), np.float32)
        self.maps: Floats = np.empty((3, count, 0, self.width), np.float32)
        """Energy of corners and of rings, and luminance, of the sites that are still to be averaged over."""

    def _ring(self, rows: int, channels: int, frames: int | None = None, dtype: Any = np.float32) -> Floats:
        pitch = SITES * self.segments + 2 * MARGIN
        return np.zeros((rows, frames or self.count, channels, pitch), dtype)

    def _blocks(self, rows: int, channels: int, dtype: Any) -> NDArray[Any]:
        return np.zeros((rows, self.count, self.segments, channels, SITES), dtype)

    def _layers(self) -> list[_Step]:
        """The layers in their order, each with its rings."""
        weights, size = self.weights, (self.height, self.width)
        energy = self._ring(BAND + 4, BANK)
        lags = [2]
        for reach, *_ in weights.look:
            lags.append(lags[-1] + 1 + reach)
        detail = self._blocks(lags[-1] + 1 + BAND, PIXELS, self.kept)
        features = self._blocks(lags[-1] + BAND, CHANNELS, np.float32)
        stacks = [self._ring(BAND + 3, CHANNELS, 1) for _ in lags]

        def bank(y0: int, y1: int, first: int, last: int, s: Floats) -> None:
            kernels.bank_energy(self.pixels, weights.bank, energy, y0, y1, first, last, *size, s)

        def see(y0: int, y1: int, first: int, last: int, s: Floats) -> None:
            kernels.first_features(
                energy, self.fine, self.cells, self.noise, weights.stem, weights.stem_bias, *weights.told[0],
                detail, features, stacks[0], y0, y1, first, last, *size, s,
            )  # fmt: skip

        steps = [_Step(1, bank), _Step(2, see)]
        for number, lag in enumerate(lags[:-1]):
            steps += self._block(number, lag, features, stacks)

        def decide(y0: int, y1: int, first: int, last: int, s: Floats) -> None:
            kernels.decide(
                features, detail, self.cells, stacks[-1], self.contrast, *weights.around[-1], *weights.decide,
                *self.limits[:3], self.logits, self.answered, y0, y1, first, last, *size, s,
            )  # fmt: skip

        return [*steps, _Step(lags[-1] + 1, decide)]

    def _block(self, number: int, lag: int, features: Floats, stacks: list[Floats]) -> list[_Step]:
        weights, size = self.weights, (self.height, self.width)
        reach, *look_weights = weights.look[number]
        mixtures, gates = (
            self._ring(2 * reach + BAND + 1, CHANNELS, dtype=self.kept),
            self._ring(reach + BAND + 1, CHANNELS, 1),
        )

        def mix(y0: int, y1: int, first: int, last: int, s: Floats) -> None:
            kernels.mix(
                features, stacks[number], *weights.around[number], *weights.mix[number], gates, mixtures,
                y0, y1, first, last, *size, s,
            )  # fmt: skip

        def look(y0: int, y1: int, first: int, last: int, s: Floats) -> None:
            kernels.look(
                features, mixtures, gates, reach, *look_weights, *weights.told[number + 1], stacks[number + 1],
                y0, y1, first, last, *size, s,
            )  # fmt: skip

        return [_Step(lag + 1, mix), _Step(lag + 1 + reach, look)]

    def push(self, planes: Tensor, above_px: int = 0, below_px: int = 0) -> Tensor:
        """Take in the next rows.

        Args:
            planes: (N, above + rows + below, W) luminance; rows are a multiple of CELL, but for the last ones.
            above_px: Rows that were taken in before: EDGE_PX of them, as far as there are any.
            below_px: Rows that come next, likewise.

        Returns:
            (N, h, w) logarithm of each frame's mean probability in the cells of the next rows that are decided, or
            (N, H, W) of its probability in their pixels.
        """
        empty = np.empty((self.count, 0, self.width * (CELL if self.pixelwise else 1)), np.float32)
        found = [empty]
        rows_px = planes.shape[1] - above_px - below_px
        for top in range(0, rows_px, STRIP * CELL):
            stop = min(rows_px, top + STRIP * CELL)
            first, last = max(0, above_px + top - EDGE_PX), min(planes.shape[1], above_px + stop + EDGE_PX)
            self._take_in(planes[:, first:last], above_px + top - first, -(-(stop - top) // CELL))
            found += list(self._advance())
        return torch.from_numpy(np.concatenate(found, 1))

    @property
    def _shape(self) -> tuple[int, ...]:
        return (CELL, self.width, CELL) if self.pixelwise else (self.width,)

    def _take_in(self, planes: Tensor, above_px: int, rows: int) -> None:
        """Pixels, energies and the noise that follows from them."""
        height = planes.shape[1]
        whole = F.pad(planes, (0, -planes.shape[2] % CELL, 0, -height % CELL), mode="replicate").contiguous()
        maps = np.empty((3, self.count, rows, self.width), np.float32)

        def take_in(k: int) -> None:
            sight.see(whole[k].numpy(), above_px, rows, *_FILTERS, self.pixels, self.fine, maps[:, k], self.taken, k)

        list(self.pool.map(take_in, range(self.count)))
        self.maps = np.concatenate([self.maps, maps], 2)
        self.taken += rows
        self._average()

    def _average(self) -> None:
        """The noise, and energies relative to it, of the rows whose surroundings have been taken in."""
        ready = self.height if self.taken == self.height else max(self.known, self.taken - _SMOOTH)
        first = self.taken - self.maps.shape[2]
        energies = np.empty((4, *self.maps.shape[1:]), np.float32)
        corner, ring, energies[3] = self.maps
        for k, sigma in enumerate((BROAD_SIGMA_CELLS, WIDE_SIGMA_CELLS, BROAD_SIGMA_CELLS)):
            energies[k] = filters.gaussian(torch.from_numpy(ring if k else corner), sigma).numpy()
        rings = self.noise, self.contrast, self.cells
        sight.relative_energies(energies, first, self.known, ready, np.float32(NOISE_FLOOR), *rings)
        sight.in_noise(self.pixels, self.noise, self.known, ready, self.width)
        self.maps = self.maps[:, :, max(0, ready - _SMOOTH - first) :]
        self.known = ready

    def _advance(self) -> Iterator[Floats]:
        """Let rows pass through the layers as far as their surroundings are known."""
        stop = self.height + self.lag if self.taken == self.height else self.known
        while self.passed < stop:
            before, self.passed = self.passed, min(self.passed + BAND, stop)
            for step in self.steps:
                y0, y1 = (min(max(0, row - step.lag), self.height) for row in (before, self.passed))
                if y0 < y1:
                    self._run(step.work, y0, y1)
            if y0 < y1:
                yield self._shares(y1 - y0)
        if self.passed == self.height + self.lag:
            # The layers know this object: its memory would wait for the collector.
            self.steps = []
            self.pool.shutdown()

    def _run(self, work: Callable[[int, int, int, int, Floats], None], y0: int, y1: int) -> None:
        """Share a layer's segments out between the threads."""
        if self.threads == 1:
            work(y0, y1, 0, self.segments, self.scratch[0])
            return
        cuts = [self.segments * number // self.threads for number in range(self.threads + 1)]
        list(self.pool.map(work, *zip(*((y0, y1, a, b, s) for a, b, s in zip(cuts, cuts[1:], self.scratch)))))

    def _shares(self, rows: int) -> Floats:
        found = np.empty((self.count, rows, *self._shape), np.float32)
        share = kernels.log_shares if self.pixelwise else kernels.log_cell_shares
        share(self.logits, self.answered, self.limits.least_share, found, 0, rows)
        return found.reshape(self.count, rows * CELL, self.width * CELL) if self.pixelwise else found
