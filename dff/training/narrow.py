"""Make the stack network narrower: leave out what the rest of a layer says as well.

Run: python -m dff.training.narrow WEIGHTS SCENES OUTPUT
WEIGHTS is a file of a wide network, SCENES a folder that `dff train --render` filled. Channels are left out one after
the other, each time the one that the others stand in for best, and what comes after the layer is fitted anew by least
squares (channel pruning: He, Zhang, Sun, ICCV 2017). A little training, `dff train --start OUTPUT`, does the rest.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dff.focus import weight_files
from dff.focus.evidence import fine_energy, pixels_in_noise, survey
from dff.focus.measure import CELL
from dff.focus.sesf_stack import IN_LOOPS, SesfStack
from dff.settings import VERSION
from dff.training.scenes import Sampling, describe_cache, draw_sample, read_cache

NAME = "sesf-stack"
FILTERS, MIXED = IN_LOOPS["filters_in_bank"], IN_LOOPS["mixed"]
"""What is kept of filters, and of channels of mixtures."""
SAMPLES = 120
SEED = 0
_RIDGE = 1e-6


@dataclass
class Moments:
    """Sums of the products of what a layer is shown, its channels and a constant."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(()))
    """(K + 1, K + 1)."""

    def add(self, shown: Tensor, weight: Tensor | None = None) -> None:
        """Take in (P, K) values, each of the P weighted."""
        values = torch.cat([shown, torch.ones_like(shown[:, :1])], 1).double()
        values = values if weight is None else values * weight.double()
        self.sums = self.sums + values.T @ values

    def kept(self, layer: Tensor, count: int, candidates: int) -> tuple[list[int], Tensor, float]:
        """The channels that stand in for all of them.

        Args:
            layer: (outputs, K + 1) weights of the layer, the constant's last.
            count: How many of the candidates are kept.
            candidates: The first so many channels may be left out.

        Returns:
            The numbers of those that are kept, of candidates and others; (outputs, kept + 1) their weights; the error's
            share of the layer's answers, in squares.
        """
        ridge = _RIDGE * self.sums.diagonal().mean() * torch.eye(len(self.sums), dtype=self.sums.dtype)
        sums, layer = self.sums + ridge, layer.double()
        chosen, asked = list(range(len(sums))), layer @ sums
        whole = float((asked * layer).sum())

        def fitted(some: list[int]) -> tuple[float, Tensor]:
            weights = torch.linalg.solve(sums[some][:, some], asked[:, some].T).T
            return float((asked[:, some] * weights).sum()), weights

        for _ in range(candidates - count):
            rests = [[k for k in chosen if k != out] for out in chosen if out < candidates]
            chosen = max(rests, key=lambda some: fitted(some)[0])
        explained, weights = fitted(chosen)
        return chosen[:-1], weights.float(), 1 - explained / whole


class _Watched:
    """A wide network and what its layers are shown."""

    def __init__(self, network: SesfStack):
        self.network, self.seen, self.mixtures = network, Moments(), [Moments() for _ in network.blocks]
        for block, moments in zip(network.blocks, self.mixtures):
            block.out.register_forward_pre_hook(self._watch(moments))  # type: ignore[union-attr]

    @staticmethod
    def _watch(moments: Moments) -> Any:
        def watch(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            moments.add(given[0].movedim(1, -1).flatten(0, 2))

        return watch

    @torch.no_grad()
    def show(self, planes: Tensor) -> None:
        """Show the network a stack (N, H, W)."""
        whole, network = survey(planes), self.network
        pixels, fine = pixels_in_noise(planes, whole.noise), fine_energy(whole.ring, whole.noise)
        seen = torch.cat([network.bank_energy(pixels), fine, whole.cells], -1).flatten(0, 2)
        features = network.first_features(pixels, fine, whole.cells).flatten(0, 2)
        self.seen.add(seen, network.norm.size(features))
        network.together(planes)


def narrowed(wide: SesfStack, stacks: list[Tensor]) -> tuple[SesfStack, dict[str, float]]:
    """A narrow network that says much the same, and the error of every layer that became narrower.

    Args:
        wide: The network.
        stacks: (N, H, W) luminance of what it is to be like it on.
    """
    watched = _Watched(wide)
    for stack in stacks:
        height, width = (side // CELL * CELL for side in stack.shape[1:])
        watched.show(stack[:, :height, :width])
    narrow, errors = SesfStack(filters_in_bank=FILTERS, mixed=MIXED), {}
    tensors, filters = wide.state_dict(), len(wide.bank)
    stem = torch.cat([0.3 * wide.stem.weight[:, :, 0, 0], wide.stem.bias[:, None]], 1)  # type: ignore[index]
    kept, weights, errors["stem"] = watched.seen.kept(stem, FILTERS, filters)
    tensors["bank"] = wide.bank[kept[:FILTERS]]
    tensors["stem.weight"], tensors["stem.bias"] = weights[:, :-1, None, None] / 0.3, weights[:, -1]
    for number, (block, moments) in enumerate(zip(wide.blocks, watched.mixtures)):
        layer = torch.cat([block.out.weight[:, :, 0, 0], block.out.bias[:, None]], 1)  # type: ignore
        kept, weights, errors[f"block {number}"] = moments.kept(layer, MIXED, layer.shape[1] - 1)
        _narrow_block(tensors, f"blocks.{number}.", kept, weights)
    narrow.load_state_dict(tensors)
    return narrow.eval(), errors


def _narrow_block(tensors: dict[str, Tensor], block: str, kept: list[int], out: Tensor) -> None:
    """Keep some channels of a mixture; those of the stack that it is told come first."""
    order = kept + [k for k in range(len(tensors[block + "exchange.squeeze.bias"])) if k not in kept]
    for layer in ("exchange.squeeze.", "exchange.around."):
        for part in ("weight", "bias"):
            tensors[block + layer + part] = tensors[block + layer + part][order]
    for layer in ("exchange.around.weight", "excite.weight"):
        tensors[block + layer] = tensors[block + layer][:, order]
    for layer in ("excite.", "mix.", "look."):
        for part in ("weight", "bias"):
            tensors[block + layer + part] = tensors[block + layer + part][kept]
    tensors[block + "out.weight"], tensors[block + "out.bias"] = out[:, :-1, None, None], out[:, -1]


def main(weights: str, folder: str, output: str) -> None:
    """Write the narrow network and its card, and report."""
    wide = weight_files.loaded(NAME, SesfStack, path=weights)
    scenes, random = read_cache(folder), np.random.default_rng(SEED)
    stacks = [draw_sample(scenes, random, Sampling()).images[:, 0] for _ in range(SAMPLES)]
    network, errors = narrowed(wide, stacks)
    card = {
        "network": NAME,
        "options": network.options,
        "parameters": sum(p.numel() for p in network.parameters()),
        "command": f"python -m dff.training.narrow {' '.join(Path(path).name for path in (weights, folder, output))}",
        "parent": {"file": Path(weights).name, "sha256": weight_files.checksum(weights)},
        "data": describe_cache(folder),
        "seed": SEED,
        "scores": {f"error_{name.replace(' ', '_')}": round(error, 6) for name, error in errors.items()},
        "version": VERSION,
    }
    weight_files.save_weights(output, network.state_dict(), card)
    sys.stdout.write("".join(f"{name}: {error:.5f} of the answers' square\n" for name, error in errors.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
