"""Real stacks, our depth and picture beside those of StackMFF V3: one picture a stack, and a line of figures.

Usage: DFF_PEER_OPENFOCUS=openfocus/bin/python python docs/compare_real.py OUTPUT [STACK ...]

Stacks are folders of frames; by default those in $DFF_SHARED/data/stacks. Frames are first shrunk to LONGEST_PX. Ours
is the whole program with its default settings; V3 gets the frames that `dff align` writes, and is read out within
three frames of its peak, which is fairer to it than what its program exports. Each picture has ours on the left and
V3 on the right: depth in the same colours between the same limits, dark is far; then the sharp picture and the depth
three times enlarged, where there is most detail at jumps of depth.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import fuse, io, metrics, pipeline
from dff.benchmark.cost import CommandError, stopwatch
from dff.benchmark.peers import PEERS
from dff.benchmark.score import fill_nearest
from dff.preview.lettering import write_text
from dff.preview.maps import coloured, unknown_ground
from dff.settings import DEFAULTS, Settings
from dff.stack import FloatArray, FocalStack

LONGEST_PX = 1024
OPTIONS = {
    "translucent_dome": {"first": "far"},
    "pcb_button_breathing": {"first": "far"},
    "heatsink_microscope": {"first": "far"},
    "pseudoscorpion_unordered": {"order": "auto"},
}
"""What the user has to say of a stack that the defaults do not."""
WIDTH_PX, CROP_PX, ENLARGED = 640, (160, 213), 3
GAP_PX = 6
SURE = 0.8
"""Confidence from which ours is called sure."""


class Answer(NamedTuple):
    """What one of the two says of a stack."""

    depth: FloatArray
    picture: NDArray[np.uint8]
    cpu_s: float


def main(output: str, *stacks: str) -> None:
    """Write OUTPUT/NAME.png for every stack and print its figures."""
    default = Path(os.environ.get("DFF_SHARED", "../shared"), "data", "stacks")
    folders = [Path(name) for name in stacks] or sorted(path for path in default.iterdir() if path.is_dir())
    Path(output).mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for folder in folders:
        settings = DEFAULTS.but(**OPTIONS.get(folder.name, {}))
        stack = shrunk(pipeline.open_stack(folder, settings))
        with stopwatch() as costs:
            result = pipeline.reconstruct(stack, settings)
        ours = Answer(result.depth.index, to_8_bit(result.all_in_focus), costs[0].cpu_s)
        try:
            theirs = v3(moved(stack, result.names, settings))
        except CommandError as error:
            print(folder.name, error, flush=True)
            continue
        picture = side_by_side(ours, theirs, far_first=settings.first == "far")
        io.write_image(Path(output, f"{folder.name}.png"), picture)
        print(folder.name, figures(ours, theirs, result.depth.confidence > SURE), flush=True)


def shrunk(stack: FocalStack) -> FocalStack:
    """The stack with frames of at most LONGEST_PX."""
    share = min(1, LONGEST_PX / max(stack.shape[:2]))
    size = (round(stack.shape[1] * share), round(stack.shape[0] * share))
    frames = [
        cv2.resize(stack.frames[k], size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
        for k in range(len(stack))
    ]
    return replace(stack, frames=frames, shape=frames[0].shape, files=(), suffix=".png")


def moved(stack: FocalStack, names: Sequence[str], settings: Settings) -> FocalStack:
    """The frames as `dff align` writes them, in the order that our program found."""
    with tempfile.TemporaryDirectory() as scratch:
        pipeline.align_to_folder(stack, Path(scratch, "aligned"), settings)
        frames = [io.read_image(Path(scratch, "aligned", f"{Path(name).stem}.png")) for name in names]
    return replace(stack, frames=frames, names=tuple(names))


def v3(stack: FocalStack) -> Answer:
    """What StackMFF V3 says of aligned frames."""
    peer = PEERS["openfocus-windowed"]
    method = peer.method()
    if method is None:
        raise SystemExit(f"DFF_PEER_OPENFOCUS: must name OpenFocus's Python; got nothing; {peer.install}")
    said = method.estimate(stack)
    if said.index is None or said.all_in_focus is None:
        raise SystemExit("DFF_PEER_OPENFOCUS: must give depth and picture; got less; install OpenFocus again")
    return Answer(said.index, to_8_bit(said.all_in_focus), said.cost.cpu_s)


def side_by_side(ours: Answer, theirs: Answer, *, far_first: bool) -> NDArray[np.uint8]:
    """Ours left, V3 right: depth, and the picture and the depth enlarged."""
    heights = [answer.depth if far_first else -answer.depth for answer in (ours, theirs)]
    low, high = np.percentile(np.concatenate([height[np.isfinite(height)] for height in heights]), (1, 99))
    place = busiest(fill_nearest(ours.depth), ours.picture)
    columns = []
    for title, height, picture in zip(("ours", "StackMFF V3"), heights, (ours.picture, theirs.picture)):
        depth = painted(height, float(low), float(high))
        crops = [enlarged(part[place]) for part in (picture, depth)]
        columns.append(stacked([titled(depth, title, place), *crops], axis=0))
    return stacked(columns, axis=1)


def titled(depth: NDArray[np.uint8], title: str, place: tuple[slice, slice]) -> NDArray[np.uint8]:
    """A depth map in the width of the column with its title and the frame of the crop."""
    share = WIDTH_PX / depth.shape[1]
    size = (WIDTH_PX, round(depth.shape[0] * share))
    picture = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = ([round(part.start * share), round(part.stop * share) - 1] for part in place)
    picture[slice(*rows), columns] = picture[rows, slice(*columns)] = 255
    write_text(picture, title, (WIDTH_PX / 2, 14), size_px=18, anchor="centre", colour=(255, 255, 255))
    return picture


def painted(height: FloatArray, low: float, high: float) -> NDArray[np.uint8]:
    """Heights in colour; unknown is chequered."""
    picture = unknown_ground(height.shape)
    known = np.isfinite(height)
    picture[known] = coloured(height, low, high, cv2.COLORMAP_VIRIDIS)[known]
    return picture


def to_8_bit(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture as 8-bit RGB."""
    values = fuse.to_dtype(fuse.frame_tensor(picture), np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def busiest(depth: FloatArray, picture: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The place of the crop that holds most of the picture's detail where depth jumps."""
    rows, columns = (min(side, length) for side, length in zip(CROP_PX, depth.shape))
    detail = np.abs(picture - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 2)).mean(-1)
    edges = metrics.occlusion_edges(depth, range_frames=0.15 * float(np.ptp(depth)))
    held = cv2.boxFilter(detail * edges, -1, (columns, rows), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    held = held[: depth.shape[0] - rows + 1, : depth.shape[1] - columns + 1]
    row, column = np.unravel_index(held.argmax(), held.shape)
    return slice(row, row + rows), slice(column, column + columns)


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop three times as large, padded or cut to the width of the column."""
    large = np.kron(picture, np.ones((ENLARGED, ENLARGED, 1), np.uint8))[:, :WIDTH_PX]
    return np.pad(large, ((0, 0), (0, WIDTH_PX - large.shape[1]), (0, 0)), constant_values=255)


def stacked(parts: list[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    """Pictures in a row or a column with white between them."""
    width = list(parts[0].shape)
    width[axis] = GAP_PX
    gap = np.full(width, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)


def figures(ours: Answer, theirs: Answer, sure: NDArray[np.bool_]) -> str:
    """How far the two are apart, what ours does not know, and what both took."""
    apart = np.abs(ours.depth - theirs.depth)
    known = np.isfinite(apart)
    middle = np.median(apart[known])
    over = [f"{100 * (apart[pixels] > 1).mean():.0f} %" for pixels in (known, sure & known)]
    return (
        f"known {100 * known.mean():.0f} %, apart: median {middle:.2f} frames, over 1 frame {over[0]}, "
        f"where ours is sure {over[1]}; processor {ours.cpu_s:.0f} s and {theirs.cpu_s:.0f} s"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
