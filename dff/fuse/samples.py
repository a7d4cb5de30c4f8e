"""Colours of single pixels, each out of frames of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dff.fuse.frames import FrameStack
from dff.stack import FloatArray


def colours_at(
    stack: FrameStack, place: NDArray[np.intp], frame: FloatArray, reach: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(M, C) mean of the frames about a frame at some pixels, and (M) whether any of them is valid.

    Args:
        stack: The frames.
        place: (2, M) row and column of the pixels.
        frame: (M) sub-frame index, from the first frame to the last.
        reach: Frames on either side that have weight.
    """
    from dff.fuse import sample_loops

    order, first = np.empty(len(frame), np.int32), np.zeros(stack.count + 1, np.int64)
    sample_loops.sort_by_frame(frame, order, first)
    total, sums = np.zeros(len(frame), np.float32), np.zeros((len(frame), 0), np.float32)
    place = np.ascontiguousarray(place)
    for k in range(stack.count):
        given = order, first, frame, np.float32(k), np.float32(reach)
        some, (top, bottom, left, right) = sample_loops.about_frame(*given, *place)
        if not len(some):
            continue
        window = slice(top, bottom), slice(left, right)
        pixels, scale = stack.pixels(k, window)
        valid = stack.valid_in(k, window).contiguous().cpu().numpy()
        sums = sums if sums.shape[1] else np.zeros((len(frame), pixels.shape[2]), np.float32)
        sample_loops.add_colours(pixels, np.float32(scale), valid, top, left, *place, some, *given[2:], total, sums)
    return sums / np.where(total > 0, total, np.float32(1))[:, None], total > 0
