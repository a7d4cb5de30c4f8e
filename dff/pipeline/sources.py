"""The source frames of a finished result, read again and moved as they were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import align, io
from dff.stack import Alignment, Frames, Reconstruction

_PAGE = re.compile(r"(?P<file>.+)\[\d+\]")
"""Name of a frame that is a page of a file."""


@dataclass(frozen=True)
class AlignedFrames:
    """Frames in the pixels of the result, read when they are asked for."""

    frames: Frames
    alignment: Alignment
    white: float

    def __len__(self) -> int:
        return len(self.alignment)

    def warped(self, k: int) -> NDArray[Any]:
        """(H, W, C) frame k moved onto the reference frame, in its own type and brightness."""
        return align.warp_frame(self.frames[k], self.alignment.transforms[k])

    def light(self, k: int, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels of frame k at the brightness of the reference, white at one."""
        factor = np.float32(float(self.alignment.gains[k]) / self.white)
        return pixels.astype(np.float32) * factor

    def covered(self, k: int) -> NDArray[np.bool_]:
        """(H, W) which pixels frame k covers."""
        return align.covered(self.alignment.transforms[k], self.alignment.size_px)


def source_frames(result: Reconstruction, needed: Sequence[int], *, moved_to: str | Path | None = None) -> Frames:
    """The frames that a result was made from; nothing is decoded before it is asked for.

    Args:
        result: The result.
        needed: Frames that must be there.
        moved_to: Folder, or file of all frames, where they are now; None looks where they were.

    Raises:
        OSError: frames that are needed are gone; the line names them.
        ValueError: the result does not tell where its frames are.
    """
    files = [Path(name) for name in (result.files if moved_to is None else _moved_files(result, Path(moved_to)))]
    if not files:
        raise ValueError(
            "source frames: must be known; got a result that does not tell its files; name their folder with --frames"
        )
    gone = [files[k] for k in needed if not files[k].is_file()]
    if gone:
        names = ", ".join(sorted({path.name for path in gone})[:5]) + (", ..." if len(set(gone)) > 5 else "")
        raise FileNotFoundError(
            f"source frames: {names} must be there; got none in {gone[0].parent}; name the folder they are in now "
            "with --frames"
        )
    height, width = result.alignment.size_px
    shape = (height, width, result.all_in_focus.shape[2])
    return io.reopen_frames(files, result.names, shape, result.all_in_focus.dtype)


def _moved_files(result: Reconstruction, place: Path) -> list[Path]:
    if place.is_file():
        return [place] * len(result.names)
    pages = [_PAGE.fullmatch(name) for name in result.names]
    return [place / (page["file"] if page else name) for page, name in zip(pages, result.names)]
