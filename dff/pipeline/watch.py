"""Who looks on while a run goes: what it finds, as it finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.pipeline.plan import Plan
from dff.stack import Alignment, DepthMap, FocalStack, FocusGeometry

SMALL_PX = 640
"""Width of the small pictures of the frames."""


def _unwatched(*_: Any) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Watcher:
    """Functions that a run calls as it goes, in its own thread; what they take belongs to the run and is only read.

    They should return at once; what they raise ends the run.
    """

    on_start: Callable[[FocalStack, FocusGeometry], None] = _unwatched
    """Once the order of the frames is known."""
    on_plan: Callable[[Plan], None] = _unwatched
    """Once it is known how the stack will be cut, while frames are read or registered."""
    on_frame: Callable[[int, NDArray[np.uint8]], None] = _unwatched
    """(k, small): each frame once it is decoded, as a picture of 8 bits no wider than SMALL_PX, (h, w, 3)."""
    on_alignment: Callable[[Alignment], None] = _unwatched
    """Once frames are registered, before they are moved."""
    on_labels: Callable[[NDArray[np.int64]], None] = _unwatched
    """(h, w) sharpest frame on the lattice, every LATTICE px of the picture; not called where a method has none."""
    on_rows: Callable[[int, DepthMap], None] = _unwatched
    """(first row, depth of full-width rows)."""
    on_picture: Callable[[int, NDArray[Any]], None] = _unwatched
    """(first row, full-width rows of the all-in-focus picture)."""

    @property
    def sees_frames(self) -> bool:
        """Whether small pictures of the frames are of use."""
        return self.on_frame is not _unwatched


UNWATCHED = Watcher()
