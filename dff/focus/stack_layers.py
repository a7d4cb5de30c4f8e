"""Layers of the stack network: what frames tell each other, and what each makes of it.

Every layer goes two ways. `forward` takes all frames at once, (N, C, h, w), for training. `stream` gives the same
numbers with a fraction of the memory and time: (N, h, w, C) features are changed in place, in bands of rows that stay
in the processor's cache, with nearly all of the work in products of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHED_SITES = 4096
"""Sites of one frame that are worked on at a time: half a megabyte of features."""
POOLED_SITES = 16384
"""Sites of all frames that are pooled at a time."""


def row_bands(height: int, width: int, *, least: int = 1, sites: int | None = None) -> Iterator[slice]:
    """Bands of rows with as many sites as the cache holds, of `least` rows or more."""
    rows = max(least, (sites or CACHED_SITES) // width)
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))


def site_matrix(layer: nn.Conv2d) -> Tensor:
    """(input channels, output channels) of a convolution that looks at single sites."""
    return layer.weight[:, :, 0, 0].T


def at_sites(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """A convolution that looks at single sites, (..., channels) → (..., other channels)."""
    return F.linear(features, layer.weight[:, :, 0, 0], layer.bias)


def channels_first(features: Tensor) -> Tensor:
    """(n, h, w, C) → (n, C, h, w), a view."""
    return features.permute(0, 3, 1, 2)


def channels_last(features: Tensor) -> Tensor:
    """(n, C, h, w) → (n, h, w, C) float32, a view where it lies so already."""
    return features.permute(0, 2, 3, 1).contiguous().float()


class Norm(nn.Module):
    """Each site's channels, scaled to mean square 1: no statistic of the picture, so strips agree."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → the same."""
        size = torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-3)
        return features * size * self.scale.view(1, -1, 1, 1)

    def size(self, features: Tensor) -> Tensor:
        """(..., C) → (..., 1) factor of each site, without the scale of the channels."""
        length = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
        return length.square_().div_(features.shape[-1]).add_(1e-3).rsqrt_()


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
        pooled = torch.cat([features.mean(0), features.amax(0), (features * weight).sum(0)])[None]
        stack: Tensor = self.squeeze(pooled)
        return stack + self.around(F.relu(stack))

    def stream(self, features: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
        """The same of features that are yet to be scaled.

        Args:
            features: (N, h, w, C).
            norm: Scales them.

        Returns:
            (1, h, w, C), and (N, h, w, 1) the factors that `norm` scales sites with.
        """
        count, height, width, channels = features.shape
        sites, focus = features.flatten(1, 2), self.focus.weight.flatten()
        size, pooled = sites.new_empty(count, height * width, 1), sites.new_empty(height * width, 3 * channels)
        for part in row_bands(height * width, count, sites=POOLED_SITES):
            size[:, part] = norm.size(sites[:, part])
            normal = (sites[:, part] * size[:, part]).mul_(norm.scale)
            weight = (normal @ focus).softmax(0)[..., None]
            pooled[part] = torch.cat([normal.mean(0), normal.amax(0), normal.mul_(weight).sum(0)], 1)
        stack = at_sites(self.squeeze, pooled).view(1, height, width, channels)
        around = channels_last(self.around(channels_first(F.relu(stack))))
        return stack + around, size.view(count, height, width, 1)


class Block(nn.Module):
    """A frame's own features, its neighbours and the stack, mixed; a dilated look around; squeeze and excite."""

    def __init__(self, channels: int, dilation: int, mixed: int | None = None):
        """Make a block.

        Args:
            channels: Of the features.
            dilation: Distance of the sites that are looked at.
            mixed: Channels of the mixture, which is told the first of the stack's; as many as the features by default.
        """
        super().__init__()
        mixed = channels if mixed is None else mixed
        self.reach = dilation
        self.norm = Norm(channels)
        self.exchange = Exchange(channels)
        self.mix = nn.Conv2d(2 * channels, mixed, 1)
        self.look = nn.Conv2d(mixed, mixed, 3, padding=dilation, dilation=dilation, groups=mixed)
        self.excite = nn.Conv2d(channels, mixed, 1)
        self.out = nn.Conv2d(mixed, channels, 1)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → the same.

        A frame is mixed with its difference to the mean of its neighbours; that mean is taken after the mixing.
        """
        normal = self.norm(features)
        own, difference = self.mix.weight.chunk(2, 1)
        frame, near = F.conv2d(normal, torch.cat([own - difference, difference])).chunk(2, 1)
        stack = self.exchange(normal)
        gate = self.excite(F.relu(stack)).sigmoid()
        told = stack[:, : self.mix.out_channels] + self.mix.bias.view(1, -1, 1, 1)  # type: ignore[union-attr]
        mixture = frame + beside(near) + told
        change: Tensor = self.out(F.relu(self.look(F.relu(mixture))) * gate)
        return features + change

    def stream(self, features: Tensor) -> None:
        """The same in place, (N, h, w, C)."""
        stack, size = self.exchange.stream(features, self.norm)
        gate = at_sites(self.excite, F.relu(stack)).sigmoid()[0]
        shift = (stack[..., : self.mix.out_channels] + self.mix.bias)[0]  # type: ignore[operator]
        count, height, width, _ = features.shape
        reach = self.reach
        outside = features.new_zeros(reach, width, self.mix.out_channels)
        above, done = [outside] * count, 0
        for rows in row_bands(height, width, least=2 * reach):
            below = outside if rows.stop == height else outside[:0]
            for k, mixture in enumerate(self.mixtures(features[:, rows], size[:, rows], shift[rows])):
                seen = torch.cat([above[k], mixture, below])
                above[k] = seen[-2 * reach :].clone()
                look = self.looked(seen)
                place = slice(done, done + len(look))
                features[k, place] += at_sites(self.out, look.mul_(gate[place]))
            done += len(look)

    def mixtures(self, features: Tensor, size: Tensor, shift: Tensor) -> Iterator[Tensor]:
        """(h, w, M) mixture of one frame after the other, all from the features as they were before the first.

        Args:
            features: (N, h, w, C).
            size: (N, h, w, 1) what scales them.
            shift: (h, w, M) what the stack adds to every frame.
        """
        own, difference = site_matrix(self.mix).chunk(2)
        weight = torch.cat([own - difference, difference / 2]) * self.norm.scale.repeat(2)[:, None]
        count, shape = len(features), shift.shape
        shift = shift.flatten(0, 1)
        before = here = (features[0] * size[0]).flatten(0, 1)
        for k in range(count):
            later = (features[k + 1] * size[k + 1]).flatten(0, 1) if k + 1 < count else here
            yield torch.addmm(shift, torch.cat([here, before + later], 1), weight).relu_().view(shape)
            before, here = here, later

    def looked(self, mixture: Tensor) -> Tensor:
        """(h, w, M) → (h - 2 reach, w, M) look around at the sites that have all of their context above and below."""
        seen = F.conv2d(
            channels_first(mixture[None]),
            self.look.weight,
            self.look.bias,
            padding=(0, self.reach),
            dilation=self.look.dilation,
            groups=self.look.groups,
        )
        return channels_last(seen)[0].relu_()
