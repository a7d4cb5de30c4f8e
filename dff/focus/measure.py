"""The one interface of focus measures: operators and networks alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from dff.focus.energies import SymmetricEnergy
from dff.stack import LATTICE

CELL = LATTICE
"""Pixels along the side of a cell of the lattice that labels are decided on."""


class RowsOfCells(Protocol):
    """A picture's rows on their way through a network, from top to bottom."""

    def push(self, planes: Tensor, above_px: int = 0, below_px: int = 0) -> Tensor:
        """Take in the next rows of luminance; gives what `cells` gives of the next rows that are decided.

        Args:
            planes: (N, above + rows + below, W); rows are a multiple of CELL, but for the last ones.
            above_px: Rows that were taken in before, as many as the measure needs to see again.
            below_px: Rows that come next, likewise.
        """


@dataclass(frozen=True)
class RowMeasure:
    """A network that looks at a picture row by row, so that its memory does not depend on the picture's height."""

    open: Callable[[int, tuple[int, int]], RowsOfCells] = field(repr=False)
    """Number of frames, height and width → a picture of which nothing has been taken in."""
    edge_px: int
    """Rows above and below new ones that have to be seen."""
    context_px: int
    """Distance beyond which nothing is seen at all."""
    columns: int
    """Columns that are worked on together: a part of that many, or a multiple, takes the least time for each."""
    column_bytes: float
    """Memory of a pixel's column of a frame."""


@dataclass(frozen=True)
class FocusMeasure:
    """How sharp each frame is at each pixel.

    Called with (N, C, H, W) float32 images from 0 to 1, gives (N, H, W) float32 logits without bounds. An
    operator's logits are the natural logarithm of its windowed energy.
    """

    name: str
    channels: int
    """1 for luminance, 3 for RGB."""
    halo_px: int
    """Rows of context on either side that a row's answer depends on."""
    summary: str
    logits: Callable[[Tensor], Tensor] = field(repr=False)
    samples: float = 50.0
    """Number of independent samples in the window that one logit of an operator averages."""
    probabilistic: bool = False
    """Whether the logits are the logarithms of each frame's probability of being right, as trained networks give.

    What the probabilities of all frames lack of 1 is that of no frame being right.
    """

    network_bytes: float = 0
    """Memory a network takes a pixel and frame beside images and logits; 0 for operators, which are quick.

    The logits of networks are worth keeping."""
    near_px: int | None = None
    """Distance within which most of the context lies; None: all of it up to the halo."""

    cells: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    """(N, C, H, W) → (N, h, w) logarithm of the mean of e to the logits over cells of CELL x CELL pixels, where that
    costs less than logits; None: it does not."""
    rows: RowMeasure | None = None
    """The same as `cells`, row by row; None: whole pictures alone."""
    picture: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    """(N, C, H, W) → (C, H, W): how the method itself fuses; None: frames weighted by the softmax of their logits."""
    generates: bool = False
    """Whether that picture is made of new pixels, so that no weights of the frames tell of it."""
    symmetric: SymmetricEnergy | None = field(default=None, repr=False)
    """The same in compiled loops, for whole stacks on the processor; None: it cannot be said in them."""
    coarse: FocusMeasure | None = None
    """The measure to refit with where the blur grows so much from frame to frame that fine detail is lost at once;
    None: this one. It reaches no farther."""

    @property
    def border_px(self) -> int:
        """Pixels inside a frame's own edge whose logits must not be used."""
        return self.halo_px if self.near_px is None else self.near_px

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of every frame.

        Raises:
            ValueError: images of another shape or number of channels.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"images: must be (N, {self.channels}, H, W) for {self.name}; got {tuple(images.shape)}; "
                "convert the channels with dff.focus.focus_volume"
            )
        return self.logits(images)
