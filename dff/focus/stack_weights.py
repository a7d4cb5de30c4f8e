"""The numbers of the stack network as its compiled loops take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dff.focus.stack_scratch import packed

if TYPE_CHECKING:
    from dff.focus.sesf_stack import SesfStack
    from dff.focus.stack_layers import Block, Exchange, Norm

Floats = NDArray[np.float32]


class Weights(NamedTuple):
    """All of them: matrices as `packed` makes them."""

    bank: Floats
    stem: Floats
    stem_bias: Floats
    told: tuple[tuple[Floats, ...], ...]
    """Of each exchange: scale of the norm before, focus, squeeze and its bias."""
    around: tuple[tuple[Floats, Floats], ...]
    """Of each exchange: what the stack makes of the sites around."""
    mix: tuple[tuple[Floats, ...], ...]
    """Of each block: excitation and its bias, own and neighbours' part of the mixture and its bias."""
    look: tuple[tuple[Floats, ...], ...]
    """Of each block: taps and their bias, last layer and its bias."""
    reach: NDArray[np.int64]
    """Of each block: distance of the sites that are looked at."""
    decide: tuple[Floats, ...]
    """Gains, log-odds of no answer, correction."""

    @classmethod
    def of(cls, network: SesfStack) -> Weights:
        """Those of a network."""
        blocks = [block for block in network.blocks]
        ends = [*((block.exchange, block.norm) for block in blocks), (network.exchange, network.norm)]
        return cls(
            _folded(network.filters()),
            _matrix(0.3 * F.pad(network.stem.weight[:, :, 0, 0], (0, 1))),
            _array(network.stem.bias),
            tuple(_told(exchange, norm) for exchange, norm in ends),  # type: ignore[arg-type]
            tuple((_taps(exchange.around.weight), _array(exchange.around.bias)) for exchange, _ in ends),  # type: ignore
            tuple(_mix(block) for block in blocks),  # type: ignore[arg-type]
            tuple(_look(block) for block in blocks),  # type: ignore[arg-type]
            np.array([block.reach for block in blocks], np.int64),
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
    """(out, in, rows, columns) tap after tap."""
    return np.concatenate([_matrix(tap) for tap in weight.permute(2, 3, 0, 1).flatten(0, 1)])


def _folded(weight: Tensor) -> Floats:
    """(out, in, 3, 3) as four rows of taps for two rows of answers at once; see `stack_kernels.bank_energy`."""
    above, here, below = weight.unbind(2)
    return _taps(torch.stack([above, (above + here + below) / 2, (above - here + below) / 2, below], 2))


def _layer(layer: nn.Conv2d) -> tuple[Floats, Floats]:
    bias = np.zeros(-(-layer.out_channels // 8) * 8, np.float32)
    bias[: layer.out_channels] = _array(layer.bias)
    return _matrix(layer.weight[:, :, 0, 0]), bias


def _told(exchange: Exchange, norm: Norm) -> tuple[Floats, ...]:
    focus = exchange.focus.weight.flatten() * norm.scale
    # Sums are told as they are, the maximum is told scaled.
    scales = torch.cat([norm.scale, torch.ones_like(norm.scale), norm.scale])
    squeeze = _matrix(exchange.squeeze.weight[:, :, 0, 0] * scales)
    return _array(norm.scale), _array(focus), squeeze, _array(exchange.squeeze.bias)


def _mix(block: Block) -> tuple[Floats, ...]:
    own, difference = block.mix.weight[:, :, 0, 0].chunk(2, 1)
    mixture = torch.cat([own - difference, difference / 2], 1) * block.norm.scale.repeat(2)
    return *_layer(block.excite), _matrix(mixture), _array(block.mix.bias)


def _look(block: Block) -> tuple[Floats, ...]:
    return _array(block.look.weight.flatten()), _array(block.look.bias), *_layer(block.out)
