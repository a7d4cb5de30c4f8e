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

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff import filters
from dff.focus import weight_files
from dff.focus.evidence import CELL_CHANNELS, ENERGY_FLOOR, PIXELS, fine_energy, pixels_in_noise, survey
from dff.focus.measure import CELL, FocusMeasure, RowMeasure
from dff.focus.stack_layers import (
    Block,
    Exchange,
    Norm,
    at_sites,
    channels_first,
    channels_last,
    row_bands,
    site_matrix,
)
from dff.focus.stack_tiles import BYTES_A_PIXEL, HALO_PX, TILE_BYTES, tiles

if TYPE_CHECKING:
    from dff.focus.stack_rows import StackRows

DILATIONS = (1, 2, 4, 6, 2, 1)
BANK_REACH = 2
"""Sites on either side that the first features depend on."""
NEAR_PX = 12
"""Where frames end, logits within this distance of the end are not used."""
LEAST_CONTRAST = 0.6
"""Logarithm of the ratio of energies among frames that noise alone does not reach; in 300 frames now and then."""
CONTRAST_STEEPNESS = 20.0
SURE_LOGIT = 12.0
"""Largest log-odds of having no answer, or of having one."""
LEAST_LOG_SHARE = -30.0
"""Of one frame in a pixel: keeps sums of probabilities and their logarithms finite."""
EDGE_PX = 8
"""Rows above and below new ones that rows in compiled loops have to be seen with."""
CONTEXT_PX = 128
"""Distance beyond which nothing is seen at all."""
COLUMNS = 256
"""Of pixels that compiled loops work on together,"""
COLUMN_BYTES = 2150
"""and memory of a pixel's column of a frame in them."""
IN_LOOPS = {"filters_in_bank": 16, "mixed": 8}
"""Widths that compiled loops are written for: those of the network that comes with the package."""


def mean_around(planes: Tensor) -> Tensor:
    """(n, C, h, w) → (n, h, w, C) mean of 3 x 3 sites, of fewer at the borders."""
    channels = planes.shape[1]
    total = F.conv2d(planes, planes.new_full((channels, 1, 3, 3), 1 / 9), padding=1, groups=channels)
    mean = channels_last(total)
    for border in (mean[:, 0], mean[:, -1], mean[:, :, 0], mean[:, :, -1]):
        border *= 1.5
    return mean


class SesfStack(nn.Module):
    """(N, 1, H, W) luminance → (N, H, W) logarithm of each frame's probability; what they lack of 1 has no answer."""

    def __init__(
        self,
        channels: int = 32,
        filters_in_bank: int = 32,
        dilations: tuple[int, ...] = DILATIONS,
        mixed: int | None = None,
    ):
        """Make a network as training begins with.

        Args:
            channels: Of the features.
            filters_in_bank: Filters of the first layer.
            dilations: Of each block: distance of the sites that are looked at.
            mixed: Channels of the mixtures in blocks; as many as the features by default.
        """
        super().__init__()
        mixed = channels if mixed is None else mixed
        self.options = {"filters_in_bank": filters_in_bank, "mixed": mixed}
        self.bank = nn.Parameter(torch.randn(filters_in_bank, PIXELS, 3, 3))
        self.stem = nn.Conv2d(filters_in_bank + PIXELS + CELL_CHANNELS, channels, 1)
        self.blocks = nn.ModuleList(Block(channels, dilation, mixed) for dilation in dilations)
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
        if torch.is_grad_enabled():
            return self.together(images[:, 0])
        return pixels_of(log_shares(*self.stream(images[:, 0])))

    def together(self, planes: Tensor) -> Tensor:
        """(N, H, W) log-probabilities, all frames at once."""
        with torch.no_grad():
            whole = survey(planes)
            pixels, fine = pixels_in_noise(planes, whole.noise), fine_energy(whole.ring, whole.noise)
        features = channels_first(self.first_features(pixels, fine, whole.cells)).contiguous()
        for block in self.blocks:
            features = block(features)
        features = self.norm(features)
        stack = channels_last(F.relu(self.exchange(features)))
        logits = self.weighed(fine, whole.cells, stack) + channels_last(self.correction(features))
        return pixels_of(logits.log_softmax(0) + self.answered(stack, whole.contrast))

    def stream(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """What decides, frame by frame, in the processor's cache; only features and logits are held for all frames.

        Args:
            planes: (N, H, W).

        Returns:
            (N, h, w, 16) logits up to a constant; (1, h, w, 16) logarithm of the probability of any answer.
        """
        whole = survey(planes)
        features = planes.new_empty(*whole.cells.shape[:3], self.correction.in_channels)
        logits = whole.ring.view(*whole.cells.shape[:3], PIXELS)
        for k, plane in enumerate(planes):
            pixels = pixels_in_noise(plane[None], whole.noise)[0]
            logits[k] = fine_energy(whole.ring[k : k + 1], whole.noise)[0]
            self.put_first_features(features[k], pixels, logits[k], whole.cells[k])
        for block in self.blocks:
            block.stream(features)  # type: ignore[operator]
        stack, size = self.exchange.stream(features, self.norm)
        stack, correction = F.relu(stack), self.norm.scale[:, None] * site_matrix(self.correction)
        for k, frame in enumerate(logits):
            frame.copy_(self.weighed(logits[k : k + 1], whole.cells[k : k + 1], stack)[0])
            normal = features[k].mul_(size[k]).flatten(0, 1)
            frame.view(-1, PIXELS).addmm_(normal, correction)
        return logits, self.answered(stack, whole.contrast)

    def put_first_features(self, features: Tensor, pixels: Tensor, fine: Tensor, cells: Tensor) -> None:
        """Fill (h, w, C) features of one frame, band by band."""
        height, width = features.shape[:2]
        for rows in row_bands(height, width):
            top, bottom = max(0, rows.start - BANK_REACH), min(height, rows.stop + BANK_REACH)
            around = slice(top, bottom)
            found = self.first_features(pixels[None, around], fine[None, around], cells[None, around])[0]
            features[rows] = found[rows.start - top : rows.stop - top]

    def first_features(self, pixels: Tensor, fine: Tensor, cells: Tensor) -> Tensor:
        """(n, h, w, C) features of what is seen of some frames: (n, h, w, 16), (n, h, w, 16), (n, h, w, 3)."""
        seen = torch.cat([self.bank_energy(pixels), fine, cells], -1)
        return F.linear(seen, 0.3 * self.stem.weight[:, :, 0, 0], self.stem.bias)

    def weighed(self, fine: Tensor, cells: Tensor, stack: Tensor) -> Tensor:
        """(n, h, w, 16) energies of some frames, weighed as the stack (1, h, w, C) tells."""
        gain, wide, broad = F.softplus(at_sites(self.gains, stack)).split(1, -1)
        return fine * gain + (wide * cells[..., :1] + broad * cells[..., 1:2])

    def answered(self, stack: Tensor, contrast: Tensor) -> Tensor:
        """(1, h, w, 16) logarithm of the probability that one of the frames is right; where all is noise, none is."""
        learned = F.logsigmoid(-at_sites(self.unanswered, stack).clamp(-SURE_LOGIT, SURE_LOGIT))
        return learned + F.logsigmoid((contrast[..., None] - LEAST_CONTRAST) * CONTRAST_STEEPNESS)

    def bank_energy(self, pixels: Tensor) -> Tensor:
        """Logarithm of the energy of each learned filter, averaged over 3 x 3 cells; white noise of the floor gives 0.

        Args:
            pixels: (n, h, w, 16) in standard deviations of the noise.

        Returns:
            (n, h, w, filters).
        """
        answer = F.conv2d(F.pad(channels_first(pixels), (1, 1, 1, 1), mode="replicate"), self.filters())
        return (mean_around(answer.square()) + ENERGY_FLOOR).log()

    def filters(self) -> Tensor:
        """(filters, 16, 3, 3) learned filters of zero mean and unit norm."""
        kernel = self.bank - self.bank.mean((1, 2, 3), keepdim=True)
        return kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def pixels_of(cells: Tensor) -> Tensor:
    """(n, h, w, 16) → (n, H, W): every channel of a cell to its pixel."""
    return F.pixel_shuffle(channels_first(cells), CELL)[:, 0]


def log_shares(logits: Tensor, answered: Tensor) -> Tensor:
    """Logarithm of each frame's probability, (N, h, w, 16), in the place of the logits; see `SesfStack.stream`."""
    largest, total = logits.amax(0), torch.zeros_like(logits[0])
    for frame in logits:
        total += (frame - largest).exp_()
    for frame in logits.add_(answered - largest - total.log_()):
        frame.clamp_min_(LEAST_LOG_SHARE)
    return logits


def log_cell_shares(logits: Tensor, answered: Tensor) -> Tensor:
    """(N, h, w) logarithm of each frame's mean probability in a cell; uses up the logits; see `SesfStack.stream`."""
    largest, total = logits.amax(0), torch.zeros_like(logits[0])
    for frame in logits:
        total += frame.sub_(largest).exp_()
    weight = answered[0].exp() / (PIXELS * total)
    shares = torch.stack([frame.mul_(weight).sum(-1) for frame in logits])
    return shares.log_().clamp_min_(LEAST_LOG_SHARE)


def sesf_stack(
    *, window_sigma_px: float | None = None, weights: str | None = None, tile_px: int | None = None
) -> FocusMeasure:
    """The learned focus measure for stacks. Its logits are those of a probability: softmax gives the fusion weights.

    Args:
        window_sigma_px: Without meaning here: the network has learned its windows.
        weights: Path of a weight file; the one that comes with the package if not given.
        tile_px: Side of the tiles a large picture is cut into on a graphics processor, a multiple of CELL; by default
            what there is room for.
    """
    network = weight_files.loaded("sesf-stack", SesfStack, path=weights)
    rows = RowMeasure(partial(open_rows, network), EDGE_PX, CONTEXT_PX, COLUMNS, COLUMN_BYTES)
    return FocusMeasure(
        "sesf-stack",
        1,
        HALO_PX,
        "learned on whole stacks: holds edges and weak texture",
        partial(_logits, network, tile_px),
        cells=partial(_cells, network, tile_px),
        rows=rows if network.options == IN_LOOPS else None,
        probabilistic=True,
        network_bytes=BYTES_A_PIXEL,
        near_px=NEAR_PX,
    )


def _in_loops(network: SesfStack, images: Tensor) -> bool:
    """Whether compiled loops do the work: on the processor, in their own precision, as wide as they are."""
    return network.options == IN_LOOPS and filters.by_opencv(images) and not torch.is_autocast_enabled("cpu")


def _logits(network: SesfStack, tile_px: int | None, images: Tensor) -> Tensor:
    if _in_loops(network, images):
        return _in_columns(network, images, pixelwise=True)
    return logits_in_tiles(network.to(images.device), images, tile_px=tile_px)


def _cells(network: SesfStack, tile_px: int | None, images: Tensor) -> Tensor:
    if _in_loops(network, images):
        return _in_columns(network, images, pixelwise=False)
    return cells_in_tiles(network.to(images.device), images, tile_px=tile_px)


def open_rows(network: SesfStack, count: int, size_px: tuple[int, int], *, pixelwise: bool = False) -> StackRows:
    """A picture that the network will look at row by row, in compiled loops.

    Args:
        network: The network, on the processor.
        count: Number of frames.
        size_px: Height and width.
        pixelwise: Give probabilities of pixels, (N, H, W), instead of those of cells.
    """
    from dff.focus.stack_pass import Limits
    from dff.focus.stack_rows import StackRows
    from dff.focus.stack_weights import Weights

    limits = Limits(CONTRAST_STEEPNESS, LEAST_CONTRAST, SURE_LOGIT, LEAST_LOG_SHARE)
    return StackRows(Weights.of(network), limits, count, size_px, pixelwise=pixelwise)


def _in_columns(network: SesfStack, images: Tensor, *, pixelwise: bool) -> Tensor:
    """The logarithm of probabilities of a whole picture, in as few parts as TILE_BYTES allow."""
    planes, (height, width) = images[:, 0], images.shape[2:]
    columns = max(CONTEXT_PX, int(TILE_BYTES / (len(images) * COLUMN_BYTES)) // CELL * CELL - 2 * CONTEXT_PX)
    scale, found = 1 if pixelwise else CELL, []
    for left in range(0, width, columns):
        start, stop = max(0, left - CONTEXT_PX), min(width, left + columns + CONTEXT_PX)
        part = open_rows(network, len(images), (height, stop - start), pixelwise=pixelwise).push(
            planes[..., start:stop]
        )
        first = (left - start) // scale
        found.append(part[..., first : first + -(-min(columns, width - left) // scale)])
    return torch.cat(found, 2)[:, :height]


@torch.no_grad()
def logits_in_tiles(network: SesfStack, images: Tensor, *, tile_px: int | None = None) -> Tensor:
    """Logarithm of each frame's probability in a picture of any size.

    It is found tile by tile, so that features are never held for the whole picture.

    Args:
        network: The network.
        images: (N, 1, H, W).
        tile_px: Side of a tile without its halo, a multiple of CELL; by default what there is room for.

    Returns:
        (N, H, W).
    """
    count, _, height, width = images.shape
    down, across = -(-height // CELL), -(-width // CELL)
    cells = images.new_empty(count, down, CELL, across, CELL)
    for tile in tiles(images, tile_px):
        shares = log_shares(*network.stream(tile.planes))[:, tile.inside[0], tile.inside[1]]
        cells.transpose(2, 3)[:, tile.place[0], tile.place[1]] = shares.unflatten(-1, (CELL, CELL))
    return cells.view(count, CELL * down, CELL * across)[:, :height, :width].contiguous()


@torch.no_grad()
def cells_in_tiles(network: SesfStack, images: Tensor, *, tile_px: int | None = None) -> Tensor:
    """Logarithm of each frame's mean probability in every cell, (N, h, w), for less than that of pixels takes.

    Args:
        network: The network.
        images: (N, 1, H, W).
        tile_px: Side of a tile without its halo, a multiple of CELL; by default what there is room for.
    """
    count, _, height, width = images.shape
    result = images.new_empty(count, -(-height // CELL), -(-width // CELL))
    for tile in tiles(images, tile_px):
        shares = log_cell_shares(*network.stream(tile.planes))
        result[:, tile.place[0], tile.place[1]] = shares[:, tile.inside[0], tile.inside[1]]
    return result
