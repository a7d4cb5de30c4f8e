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
    from dff.focus.stack_layers import Block

Floats = NDArray[np.float32]


class Weights(NamedTuple):
    """All of them, as few arrays: matrices as `packed` makes them, layer after layer."""

    numbers: Floats
    cuts: NDArray[np.int64]
    """(layers, parts + 1) where the parts of each layer begin and end."""
    reach: NDArray[np.int64]
    """Of each block: distance of the sites that are looked at."""

    @classmethod
    def of(cls, network: SesfStack) -> Weights:
        """Those of a network.

        Parts of the layers: filters; stem and its bias, and what the stack is told; of each block what the stack makes
        of the sites around, its bias, and the mixture, then what is looked at, and what the stack is told; at last that
        of the sites around again, and what decides.
        """
        blocks: list[Any] = list(network.blocks)
        after = [*blocks[1:], network]
        stem = 0.3 * F.pad(network.stem.weight[:, :, 0, 0], (0, 1))
        layers = [(_folded(network.filters()),), (_matrix(stem), _array(network.stem.bias), *_told(blocks[0]))]
        for block, following in zip(blocks, after):
            layers += [(*_around(block), *_mix(block)), (*_look(block), *_told(following))]
        layers.append((*_around(network), *_decide(network)))
        lengths = np.zeros((len(layers), 1 + max(map(len, layers))), np.int64)
        for row, parts in zip(lengths, layers):
            row[1 : len(parts) + 1] = [part.size for part in parts]
        return cls(
            np.concatenate([part for parts in layers for part in parts]),
            np.cumsum(lengths).reshape(lengths.shape),
            np.array([block.reach for block in blocks], np.int64),
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


def _told(before: Block | SesfStack) -> tuple[Floats, ...]:
    """Scale of the norm before an exchange, focus, squeeze and its bias."""
    exchange, scale = before.exchange, before.norm.scale
    # Sums are told as they are, the maximum is told scaled.
    scales = torch.cat([scale, torch.ones_like(scale), scale])
    squeeze = _matrix(exchange.squeeze.weight[:, :, 0, 0] * scales)
    return _array(scale), _array(exchange.focus.weight.flatten() * scale), squeeze, _array(exchange.squeeze.bias)


def _around(before: Block | SesfStack) -> tuple[Floats, Floats]:
    return _taps(before.exchange.around.weight), _array(before.exchange.around.bias)


def _mix(block: Block) -> tuple[Floats, ...]:
    """Excitation and its bias, own and neighbours' part of the mixture and its bias."""
    own, difference = block.mix.weight[:, :, 0, 0].chunk(2, 1)
    mixture = torch.cat([own - difference, difference / 2], 1) * block.norm.scale.repeat(2)
    return *_layer(block.excite), _matrix(mixture), _array(block.mix.bias)


def _look(block: Block) -> tuple[Floats, ...]:
    """Taps and their bias, last layer and its bias."""
    return _array(block.look.weight.flatten()), _array(block.look.bias), *_layer(block.out)


def _decide(network: SesfStack) -> tuple[Floats, ...]:
    """Gains, log-odds of no answer, correction."""
    correction = _matrix(network.correction.weight[:, :, 0, 0] * network.norm.scale)
    return *_layer(network.gains), *_layer(network.unanswered), correction
