"""SESF-stack: a squeeze-excite, spatial-frequency network for whole stacks, ours.

The idea is that of fusion networks (SESF-Fuse, Ma et al. 2020: squeeze-excite encoder, energy of its features,
decision), carried from pairs to stacks. One encoder runs on every frame, on a lattice of 4 x 4 px cells whose pixels
are channels, so nothing of the fine detail is lost. Its first layer is a bank of filters whose squared answers are
averaged and put on a logarithmic scale relative to the noise. Frames learn of each other by the mean, the maximum
and the focus-weighted mean over the stack and by the difference to their two neighbours: the cost is linear in N, any
number of frames will do, and turning the stack around turns the answer around. What the stack tells is looked at
with the sites around it, which costs as much as one more frame. The logits start as those of the ring-difference
operator; the network learns what to change: which window to trust, what bleeds over an edge, and where no frame has
the answer, because the subject lies outside of the sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff import filters
from dff.focus import operators, weight_files
from dff.focus.measure import FocusMeasure

CELL = 4
"""Pixels along the side of a lattice cell."""
PIXELS = CELL * CELL
FINE_SIGMA_PX = 1.2
WIDE_SIGMA_CELLS = 0.75
BROAD_SIGMA_CELLS = 2.0
CELL_CHANNELS = 3
ENERGY_FLOOR = 0.1
"""Energy added before the logarithm, as a share of that of the noise."""
NOISE_FLOOR = 4e-7
"""Least variance of noise: that of rounding to 8 bits, after the filter along the stack. JPEG leaves less than that in
the finest detail where it is smooth, though not in coarser detail."""
DILATIONS = (1, 2, 4, 6, 2, 1)
HALO_PX = 60
"""Context of a tile. What lies farther off, up to 100 px, moves depth by less than 0.02 frame."""
NEAR_PX = 12
"""Where frames end, logits within this distance of the end are not used."""
FRAMES_AT_ONCE = 8
SURE_LOGIT = 12.0
"""Largest log-odds of having no answer, or of having one."""
LEAST_LOG_SHARE = -30.0
"""Of one frame in a pixel: keeps sums of probabilities and their logarithms finite."""
TILE_BYTES = 512e6
BYTES_A_PIXEL = 36
"""Memory of a pixel of a frame in a tile."""


@dataclass(frozen=True)
class Evidence:
    """What the network is shown of a stack, on the lattice of h x w cells; all of it relative to the noise."""

    pixels: Tensor
    """(N, 16, h, w) luminance in standard deviations of the noise, a channel for every pixel of a cell."""
    fine: Tensor
    """(N, 16, h, w) logarithm of the ring-difference energy around every pixel."""
    cells: Tensor
    """(N, 3, h, w) the same around the cell in a wide and a broad window; low-pass change against the stack's mean."""


def observe(planes: Tensor) -> Evidence:
    """What the network is shown of a stack.

    The noise of a place is the least energy any frame has there in the finest detail, where defocus leaves nothing.

    Args:
        planes: (N, H, W) luminance; H and W are multiples of CELL.
    """
    kernel = operators.ring_kernel(1.0, 1.0, 1.0)
    ring = filters.correlate(planes, (kernel / np.linalg.norm(kernel)).astype(np.float32)).square_()
    taps = filters.gaussian_kernel(FINE_SIGMA_PX)
    fine = F.pixel_unshuffle(filters.separable(ring, taps, taps)[:, None], CELL)
    cell = F.avg_pool2d(ring[:, None], CELL)[:, 0]
    noise = noise_variance(planes)
    energies = [filters.gaussian(cell, sigma) for sigma in (WIDE_SIGMA_CELLS, BROAD_SIGMA_CELLS)]
    low = F.avg_pool2d((planes - planes.mean(0))[:, None], CELL)[:, 0] / noise.sqrt()
    return Evidence(
        pixels=F.pixel_unshuffle(planes[:, None], CELL) / noise.sqrt(),
        fine=(fine / noise + ENERGY_FLOOR).log(),
        cells=torch.stack([*[(energy / noise + ENERGY_FLOOR).log() for energy in energies], torch.asinh(low / 4)], 1),
    )


def noise_variance(planes: Tensor) -> Tensor:
    """(h, w) variance of the noise around every cell, (N, H, W) → (H / CELL, W / CELL)."""
    corner = (np.outer([1, -2, 1], [1, -2, 1]) / 6).astype(np.float32)
    energy = F.avg_pool2d(filters.correlate(planes, corner).square_()[:, None], CELL)[:, 0]
    return filters.gaussian(energy, BROAD_SIGMA_CELLS).amin(0) + NOISE_FLOOR


class Norm(nn.Module):
    """Each site's channels, scaled to mean square 1: no statistic of the picture, so strips agree."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → the same."""
        size = torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-3)
        return features * size * self.scale.view(1, -1, 1, 1)


def beside(features: Tensor) -> Tensor:
    """(N, C, h, w) mean of both neighbouring frames; the end frames are their own missing neighbours."""
    return (torch.cat([features[:1], features[:-1]]) + torch.cat([features[1:], features[-1:]])) / 2


class Exchange(nn.Module):
    """What the stack tells each of its frames: mean, maximum and focus-weighted mean, order-free and linear in N.

    The sites around are then looked at: once for the stack, whatever N.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.focus = nn.Conv2d(channels, 1, 1)
        self.squeeze = nn.Conv2d(3 * channels, channels, 1)
        self.around = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.around.weight)
        nn.init.zeros_(self.around.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → (1, C, h, w)."""
        weight = self.focus(features).softmax(0)
        pooled = [features.mean(0), features.amax(0), (features * weight).sum(0)]
        stack: Tensor = self.squeeze(torch.cat(pooled)[None])
        return stack + self.around(F.relu(stack))


class Block(nn.Module):
    """A frame's own features, its neighbours and the stack, mixed; a dilated look around; squeeze and excite."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.norm = Norm(channels)
        self.exchange = Exchange(channels)
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        self.look = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)
        self.excite = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → the same; without gradients it is changed in place, a few frames at a time."""
        normal = self.norm(features)
        stack = self.exchange(normal)
        if torch.is_grad_enabled():
            return features + self.change(normal, stack)
        for k in range(0, len(features), FRAMES_AT_ONCE):
            first, stop = max(0, k - 1), k + FRAMES_AT_ONCE
            features[k:stop] += self.change(normal[first : stop + 1], stack)[k - first :][:FRAMES_AT_ONCE]
        return features

    def change(self, normal: Tensor, stack: Tensor) -> Tensor:
        """What is added to some frames' features.

        The frame and its difference to the mean of its neighbours are mixed; the mean is taken after the mixing.

        Args:
            normal: (n, C, h, w) their features, those of their neighbours among them.
            stack: (1, C, h, w) what the stack tells.
        """
        own, difference = self.mix.weight.chunk(2, 1)
        frame, near = F.conv2d(normal, torch.cat([own - difference, difference])).chunk(2, 1)
        inner = F.relu(frame + beside(near) + (stack + self.mix.bias.view(1, -1, 1, 1)))
        inner = F.relu(self.look(inner)) * self.excite(F.relu(stack)).sigmoid()
        change: Tensor = self.out(inner)
        return change


class SesfStack(nn.Module):
    """(N, 1, H, W) luminance → (N, H, W) logarithm of each frame's probability; what they lack of 1 has no answer."""

    def __init__(self, channels: int = 32, filters_in_bank: int = 32, dilations: tuple[int, ...] = DILATIONS):
        super().__init__()
        self.bank = nn.Parameter(torch.randn(filters_in_bank, PIXELS, 3, 3))
        self.stem = nn.Conv2d(filters_in_bank + PIXELS + CELL_CHANNELS, channels, 1)
        self.blocks = nn.ModuleList(Block(channels, dilation) for dilation in dilations)
        self.norm = Norm(channels)
        self.exchange = Exchange(channels)
        self.gains = nn.Conv2d(channels, 3, 1)
        self.correction = nn.Conv2d(channels, PIXELS, 1)
        self.unanswered = nn.Conv2d(channels, PIXELS, 1)
        self.start_as_operator()

    def start_as_operator(self) -> None:
        """Set the last layers so that the logits are the ring-difference operator's."""
        nn.init.zeros_(self.gains.weight)
        nn.init.constant_(self.gains.bias, 2.0)  # type: ignore[arg-type]
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.unanswered.weight)
        nn.init.constant_(self.unanswered.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, H, W); H and W are multiples of CELL."""
        with torch.no_grad():
            evidence = observe(images[:, 0])
        return self.logits(evidence)

    def logits(self, evidence: Evidence) -> Tensor:
        """(N, H, W) log-probabilities."""
        step = len(evidence.pixels) if torch.is_grad_enabled() else FRAMES_AT_ONCE
        features = torch.cat([self.bands(evidence, k, k + step) for k in range(0, len(evidence.pixels), step)])
        for block in self.blocks:
            features = block(features)
        features = self.norm(features)
        stack = F.relu(self.exchange(features))
        gain = F.softplus(self.gains(stack))
        fine, wide, broad = gain.split(1, 1)
        cells = wide * evidence.cells[:, :1] + broad * evidence.cells[:, 1:2]
        lattice = fine * evidence.fine + cells + self.correction(features)
        answered = F.logsigmoid(-self.unanswered(stack).clamp(-SURE_LOGIT, SURE_LOGIT))
        return F.pixel_shuffle(lattice.log_softmax(0) + answered, CELL)[:, 0]

    def bands(self, evidence: Evidence, start: int, stop: int) -> Tensor:
        """(n, C, h, w) first features of some frames."""
        energies = self.bank_energy(evidence.pixels[start:stop]), evidence.fine[start:stop], evidence.cells[start:stop]
        features: Tensor = self.stem(0.3 * torch.cat(energies, 1))
        return features

    def bank_energy(self, pixels: Tensor) -> Tensor:
        """Logarithm of the energy of each learned filter, averaged over 3 x 3 cells; white noise of the floor gives 0.

        The filters have zero mean and unit norm.
        """
        kernel = self.bank - self.bank.mean((1, 2, 3), keepdim=True)
        kernel = kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        answer = F.conv2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), kernel)
        energy = F.avg_pool2d(answer.square(), 3, 1, 1, count_include_pad=False)
        return (energy + ENERGY_FLOOR).log()


def sesf_stack(
    *, window_sigma_px: float | None = None, weights: str | None = None, tile_px: int | None = None
) -> FocusMeasure:
    """The learned focus measure for stacks. Its logits are those of a probability: softmax gives the fusion weights.

    Args:
        window_sigma_px: Without meaning here: the network has learned its windows.
        weights: Path of a weight file; the one that comes with the package if not given.
        tile_px: Side of the tiles a large picture is cut into, a multiple of CELL; by default what TILE_BYTES hold.
    """
    network = SesfStack()
    network.load_state_dict(weight_files.load_weights("sesf-stack", network.state_dict(), path=weights))
    network.eval().requires_grad_(False)
    return FocusMeasure(
        "sesf-stack",
        1,
        HALO_PX,
        "learned on whole stacks: holds edges and weak texture",
        partial(logits_in_tiles, network, tile_px=tile_px),
        probabilistic=True,
        near_px=NEAR_PX,
    )


def tile_side_px(count: int) -> int:
    """Side of a tile without its halo, for so many frames."""
    side = math.sqrt(TILE_BYTES / (count * BYTES_A_PIXEL)) - 2 * HALO_PX
    return max(64, int(side) // CELL * CELL)


def even_tile_px(side_px: int, largest_px: int) -> int:
    """The least side, a multiple of CELL, of as few tiles as cover a picture's side."""
    return -(-side_px // (-(-side_px // largest_px) * CELL)) * CELL


@torch.no_grad()
def logits_in_tiles(network: SesfStack, images: Tensor, *, tile_px: int | None = None) -> Tensor:
    """Logarithm of each frame's probability in a picture of any size.

    It is found tile by tile, so that features are never held for the whole picture.

    Args:
        network: The network.
        images: (N, 1, H, W).
        tile_px: Side of a tile without its halo, a multiple of CELL; by default what TILE_BYTES hold.

    Returns:
        (N, H, W).
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    result = images.new_empty(len(images), *padded.shape[2:])
    rows, columns = (even_tile_px(side, tile_px or tile_side_px(len(images))) for side in (height, width))
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            above, before = min(top, HALO_PX), min(left, HALO_PX)
            tile = padded[:, :, top - above : top + rows + HALO_PX, left - before : left + columns + HALO_PX]
            logits = network(tile)[:, above : above + rows, before : before + columns]
            result[:, top : top + rows, left : left + columns] = logits.clamp_min_(LEAST_LOG_SHARE)
    return result[:, :height, :width].clone()
