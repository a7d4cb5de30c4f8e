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
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff.focus import weight_files
from dff.focus.evidence import CELL, CELL_CHANNELS, ENERGY_FLOOR, PIXELS, Evidence, Survey, observe, survey
from dff.focus.measure import FocusMeasure

DILATIONS = (1, 2, 4, 6, 2, 1)
HALO_PX = 60
"""Context of a tile. What lies farther off, up to 100 px, moves depth by less than 0.02 frame."""
NEAR_PX = 12
"""Where frames end, logits within this distance of the end are not used."""
LEAST_CONTRAST = 0.6
"""Logarithm of the ratio of energies among frames that noise alone does not reach; in 300 frames now and then."""
CONTRAST_STEEPNESS = 20.0
SURE_LOGIT = 12.0
"""Largest log-odds of having no answer, or of having one."""
LEAST_LOG_SHARE = -30.0
"""Of one frame in a pixel: keeps sums of probabilities and their logarithms finite."""
TILE_BYTES = 1e9
BYTES_A_PIXEL = 21
"""Memory of a pixel of a frame in a tile."""

FrameOf = Callable[[int], Tensor]


def mean_around(planes: Tensor) -> Tensor:
    """(N, C, h, w) mean of 3 x 3 sites, of fewer at the borders."""
    for axis in (2, 3):
        last = planes.shape[axis] - 1
        total = planes.clone()
        total.narrow(axis, 1, last).add_(planes.narrow(axis, 0, last))
        total.narrow(axis, 0, last).add_(planes.narrow(axis, 1, last))
        sites = torch.full((last + 1,), 3.0, device=planes.device)
        sites[0] -= 1
        sites[-1] -= 1
        planes = total / (sites[:, None] if axis == 2 else sites)
    return planes


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
        return self.settle(torch.cat([features.mean(0), features.amax(0), (features * weight).sum(0)])[None])

    def stream(self, frames: FrameOf, count: int) -> Tensor:
        """The same of `count` frames that are asked for one by one, twice."""
        weight = torch.cat([self.focus(frames(k)) for k in range(count)]).softmax(0)
        largest = frames(0)
        total, focused = largest.clone(), largest * weight[:1]
        for k in range(1, count):
            frame = frames(k)
            total += frame
            focused.addcmul_(frame, weight[k])
            largest = torch.maximum(largest, frame)
        return self.settle(torch.cat([total / count, largest, focused], 1))

    def settle(self, pooled: Tensor) -> Tensor:
        """(1, 3 C, h, w) mean, maximum and weighted mean → (1, C, h, w)."""
        stack: Tensor = self.squeeze(pooled)
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
        """(N, C, h, w) → the same."""
        normal = self.norm(features)
        frame, near = self.mixed(normal)
        return features + self.change(frame + beside(near), *self.told(self.exchange(normal)))

    def stream(self, features: Tensor) -> None:
        """The same in place, frame by frame: no other tensor is as large."""
        count = len(features)

        def normal(k: int) -> Tensor:
            return self.norm(features[k : k + 1])

        told = self.told(self.exchange.stream(normal, count))
        frame, near = self.mixed(normal(0))
        before = near
        for k in range(count):
            later = self.mixed(normal(k + 1)) if k + 1 < count else (frame, near)
            features[k] += self.change(frame + (before + later[1]) / 2, *told)[0]
            before, (frame, near) = near, later

    def mixed(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """What a frame gives to its own mixture, and what it gives as a neighbour.

        A frame is mixed with its difference to the mean of its neighbours; that mean is taken after the mixing.

        Args:
            normal: (n, C, h, w) scaled features.
        """
        own, difference = self.mix.weight.chunk(2, 1)
        frame, near = F.conv2d(normal, torch.cat([own - difference, difference])).chunk(2, 1)
        return frame, near

    def told(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, h, w) what is added to the mixture of every frame, and what multiplies it after the look around."""
        gate = self.excite(F.relu(stack)).sigmoid()
        return stack + self.mix.bias.view(1, -1, 1, 1), gate  # type: ignore[union-attr]

    def change(self, mixture: Tensor, shift: Tensor, gate: Tensor) -> Tensor:
        """What is added to the features of some frames.

        Args:
            mixture: (n, C, h, w) what the frames and their neighbours give.
            shift: (1, C, h, w) what the stack adds.
            gate: (1, C, h, w) what it lets through.
        """
        change: Tensor = self.out(F.relu(self.look(F.relu(mixture + shift))) * gate)
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
        """(N, 1, H, W) → (N, H, W); H and W are multiples of CELL. Without gradients it goes frame by frame."""
        with torch.no_grad():
            whole = survey(images[:, 0])
        return self.together(images[:, 0], whole) if torch.is_grad_enabled() else self.stream(images[:, 0], whole)

    def together(self, planes: Tensor, whole: Survey) -> Tensor:
        """(N, H, W) log-probabilities, all frames at once."""
        with torch.no_grad():
            evidence = observe(planes, whole)
        features = self.bands(evidence)
        for block in self.blocks:
            features = block(features)
        features = self.norm(features)
        stack = F.relu(self.exchange(features))
        shares = self.lattice(evidence, features, stack).log_softmax(0) + self.answered(stack, whole)
        return F.pixel_shuffle(shares, CELL)[:, 0]

    def stream(self, planes: Tensor, whole: Survey) -> Tensor:
        """The same frame by frame, in the processor's cache; only features and answer are held for all frames."""
        frames = range(len(planes))
        first = self.bands(observe(planes[:1], whole))
        features = first.new_empty(len(planes), *first.shape[1:])
        for k in frames:
            features[k] = self.bands(observe(planes[k : k + 1], whole))[0]
        for block in self.blocks:
            block.stream(features)  # type: ignore[operator]

        def normal(k: int) -> Tensor:
            return self.norm(features[k : k + 1])

        stack = F.relu(self.exchange.stream(normal, len(planes)))
        lattice = features.new_empty(len(planes), PIXELS, *features.shape[2:])
        for k in frames:
            lattice[k] = self.lattice(observe(planes[k : k + 1], whole), normal(k), stack)[0]
        largest = lattice.amax(0)
        total = torch.zeros_like(largest)
        for plane in lattice:
            total += (plane - largest).exp()
        return F.pixel_shuffle(lattice.add_(self.answered(stack, whole) - largest - total.log()), CELL)[:, 0]

    def bands(self, evidence: Evidence) -> Tensor:
        """(N, C, h, w) first features."""
        features: Tensor = self.stem(
            0.3 * torch.cat([self.bank_energy(evidence.pixels), evidence.fine, evidence.cells], 1)
        )
        return features

    def lattice(self, evidence: Evidence, features: Tensor, stack: Tensor) -> Tensor:
        """(N, 16, h, w) logits of some frames, up to a constant."""
        fine, wide, broad = F.softplus(self.gains(stack)).split(1, 1)
        cells = wide * evidence.cells[:, :1] + broad * evidence.cells[:, 1:2]
        return fine * evidence.fine + cells + self.correction(features)

    def answered(self, stack: Tensor, whole: Survey) -> Tensor:
        """(1, 16, h, w) logarithm of the probability that one of the frames is right; where all is noise, none is."""
        learned = F.logsigmoid(-self.unanswered(stack).clamp(-SURE_LOGIT, SURE_LOGIT))
        return learned + F.logsigmoid((whole.contrast - LEAST_CONTRAST) * CONTRAST_STEEPNESS)

    def bank_energy(self, pixels: Tensor) -> Tensor:
        """Logarithm of the energy of each learned filter, averaged over 3 x 3 cells; white noise of the floor gives 0.

        The filters have zero mean and unit norm.
        """
        kernel = self.bank - self.bank.mean((1, 2, 3), keepdim=True)
        kernel = kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        answer = F.conv2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), kernel)
        return (mean_around(answer.square()) + ENERGY_FLOOR).log()


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
        network_bytes=BYTES_A_PIXEL,
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
