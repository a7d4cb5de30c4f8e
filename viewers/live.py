"""A run in the browser while it goes: frames as they are read, then the surface as it is found.

The run tells a LiveRun what it finds; the page asks for what it has not seen yet. The run never waits for a browser.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import io, pipeline, preview
from dff.depth import LATTICE
from dff.io.atomic import plain
from dff.settings import Settings
from dff.stack import Alignment, DepthMap, FocalStack, FocusGeometry, Progress, Reconstruction
from dff.surface.cloud import colours_8bit
from viewers.page import page
from viewers.payload import jpeg, meta_of, payload_of, planes_of, stride_for
from viewers.server import ResultServer

MEGAPIXELS = 1.0
"""What the page shows while the run goes is thinned to this; the finished result is not."""
LABEL_SIGMA_FRAMES = 12**-0.5
"""Standard deviation of what is only known to the frame."""
_FRAME_PX = 640
_FRAME_QUALITY = 80
_GROUND = 20


@dataclass(frozen=True)
class _Grid:
    """The rows and columns of the picture that are shown."""

    stride: int
    first: int
    size: tuple[int, int]

    @staticmethod
    def of(size_px: tuple[int, int]) -> _Grid:
        stride = stride_for(size_px, MEGAPIXELS)
        return _Grid(stride, (stride - 1) // 2, (size_px[0] // stride, size_px[1] // stride))

    def rows(self, top: int, count: int) -> tuple[slice, slice]:
        """Which rows of the grid lie in full-width rows of the picture, and which of those they are."""
        low = max(0, -(-(top - self.first) // self.stride))
        high = min(self.size[0], -(-(top + count - self.first) // self.stride))
        start = low * self.stride + self.first - top
        return slice(low, high), slice(start, start + max(0, high - low) * self.stride, self.stride)

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.size[1] * self.stride, self.stride)


class LiveRun:
    """What is known of a run so far: the run writes it, the threads of the server read it.

    Args:
        stack: The frames, in the order they are given.
        settings: Every option.
        title: Name of the result.

    Raises:
        ValueError: options that contradict each other.
    """

    def __init__(self, stack: FocalStack, settings: Settings, title: str) -> None:
        self.lock = threading.Lock()
        self.settings, self.title = settings, title
        self.stages: dict[str, tuple[int, int]] = {}
        self.done = False
        self._start(stack, stack.geometry or pipeline.resolve_geometry(stack, settings))

    @property
    def watcher(self) -> pipeline.Watcher:
        """What to hand to the run."""
        return pipeline.Watcher(
            on_start=self._start,
            on_frame=self._take_frame,
            on_alignment=self._take_alignment,
            on_labels=self._take_labels,
            on_rows=self._take_rows,
            on_picture=self._take_picture,
        )

    def telling(self, other: Progress) -> Progress:
        """A progress callback that keeps the stage here and passes it on."""

        def on_progress(stage: str, done: int, total: int) -> None:
            self.stages = {**self.stages, stage: (done, total)}
            other(stage, done, total)

        return on_progress

    # ---- what the run tells

    def _start(self, stack: FocalStack, geometry: FocusGeometry) -> None:
        size_px = (stack.shape[0], stack.shape[1])
        with self.lock:
            self.grid = _Grid.of(size_px)
            unknown = [np.full(self.grid.size, np.nan, np.float32) for _ in range(2)]
            self.result = Reconstruction(
                all_in_focus=np.full((*self.grid.size, 3), _GROUND, np.uint8),
                depth=DepthMap(unknown[0], np.zeros(self.grid.size, np.float32), unknown[1]),
                geometry=geometry,
                alignment=Alignment.identity(len(stack), size_px),
                settings=self.settings,
                metadata=stack.metadata,
                names=stack.names,
            )
            self.frames: dict[int, bytes] = {}
            self.versions = {"meta": 0, "maps": 0, "picture": 0}

    def _take_frame(self, k: int, frame: NDArray[Any]) -> None:
        self.frames = {**self.frames, k: jpeg(preview.thumbnail(frame, _FRAME_PX), _FRAME_QUALITY)}

    def _take_alignment(self, alignment: Alignment) -> None:
        with self.lock:
            self.result = replace(self.result, alignment=alignment)
            self._changed("meta")

    def _take_labels(self, label: NDArray[np.int64]) -> None:
        depth, grid = self.result.depth, self.grid
        rows, columns = (np.arange(side) * grid.stride + grid.first for side in grid.size)
        index = label[rows // LATTICE][:, columns // LATTICE]
        picture = composed(self.frames, index, self.result.alignment, grid.stride)
        with self.lock:
            depth.index[:], depth.sigma[:] = index, LABEL_SIGMA_FRAMES
            depth.confidence[:] = self.settings.min_confidence
            self.result.all_in_focus[:] = picture
            self._changed("meta", "maps", "picture")

    def _take_rows(self, top: int, found: DepthMap) -> None:
        inside, taken = self.grid.rows(top, len(found.index))
        with self.lock:
            for mine, theirs in zip(_maps(self.result.depth), _maps(found), strict=True):
                mine[inside] = theirs[taken, self.grid.columns]
            self._changed("maps")

    def _take_picture(self, top: int, rows: NDArray[Any]) -> None:
        inside, taken = self.grid.rows(top, len(rows))
        with self.lock:
            self.result.all_in_focus[inside] = colours_8bit(rows[taken, self.grid.columns])
            self._changed("picture")

    def _changed(self, *parts: str) -> None:
        self.versions = {name: number + (name in parts) for name, number in self.versions.items()}

    # ---- what the page asks

    def state(self) -> dict[str, Any]:
        """How far the run is, and the version of each part."""
        residual_px = self.result.alignment.residual_px
        return {
            "stages": [[name, *steps] for name, steps in self.stages.items()],
            "frames": sorted(self.frames),
            "residual_px": residual_px if np.isfinite(residual_px).any() else [],
            "versions": self.versions,
            "done": self.done,
        }

    def html(self, **changes: Any) -> bytes:
        """The page, with what is known now."""
        result, shown = self._now()
        blank = jpeg(np.full((3, 4, 3), _GROUND, np.uint8), _FRAME_QUALITY)
        frames = [self.frames.get(k, blank) for k in range(len(result.geometry))]
        payload = payload_of(result, Path(self.title), shown, frames, self._thinning)
        return page(payload, served=True, live=True, **changes).encode()

    def meta(self) -> dict[str, Any]:
        """What the page says and works with besides its maps."""
        result, shown = self._now()
        return meta_of(result, Path(self.title), shown, self._thinning)

    def maps(self) -> bytes:
        """Index (16 bits), confidence, sigma and flags (8 bits), one after the other."""
        planes = planes_of(*self._now())
        return b"".join(
            np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).tobytes() for plane in planes.values()
        )

    def picture(self) -> bytes:
        """JPEG."""
        return jpeg(self._now()[0].all_in_focus, _FRAME_QUALITY)

    @property
    def _thinning(self) -> tuple[int, int]:
        return self.grid.stride, self.grid.first

    def _now(self) -> tuple[Reconstruction, NDArray[np.bool_]]:
        """A copy of what is known, and which of its pixels are shown."""
        with self.lock:
            depth = DepthMap(*(part.copy() for part in _maps(self.result.depth)))
            result = replace(self.result, depth=depth, all_in_focus=self.result.all_in_focus.copy())
        return result, depth.known & (depth.confidence >= self.settings.min_confidence)


def _maps(depth: DepthMap) -> tuple[NDArray[Any], ...]:
    return depth.index, depth.confidence, depth.sigma


def composed(
    frames: dict[int, bytes], index: NDArray[np.int64], alignment: Alignment, stride: int
) -> NDArray[np.uint8]:
    """A coarse all-in-focus picture: every pixel of the small frame that its index names.

    Args:
        frames: Small frames, JPEG, by number.
        index: (H, W) frame of every pixel.
        alignment: Of the frames.
        stride: Pixels of a frame to a pixel of the map.
    """
    height, width = index.shape
    picture = np.full((height, width, 3), _GROUND, np.uint8)
    for k, data in frames.items():
        chosen = index == k
        if not chosen.any():
            continue
        small = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
        scale = np.diag([alignment.size_px[1] / small.shape[1], alignment.size_px[0] / small.shape[0], 1])
        moved = np.diag([1 / stride, 1 / stride, 1]) @ alignment.transforms[k] @ scale
        picture[chosen] = cv2.warpPerspective(small, moved, (width, height), borderMode=cv2.BORDER_REPLICATE)[chosen]
    return picture


class LiveServer(ResultServer):
    """Serves a run while it goes, and then its result, at the same address.

    Args:
        folder: Where the result is going to be.
        run: What the run tells.
        port: 0 takes a free one.
        max_megapixels: A larger finished map is thinned in the page.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, folder: str | Path, run: LiveRun, *, port: int = 0, max_megapixels: float = 12.0) -> None:
        self.run = run
        self.waiting: dict[str, Any] | None = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        super().__init__(folder, port=port, max_megapixels=max_megapixels)

    def wait(self) -> None:
        """Until the user interrupts."""
        while self.thread.is_alive():
            self.thread.join(1)

    def open(self) -> None:
        """Nothing to read yet."""

    def finish(self) -> None:
        """Show the result, which is in its folder now."""
        super().open()
        with self.writing:
            if self.waiting is not None:
                io.write_json(self.measurements, self.waiting)
            self.run.done = True

    def html(self) -> bytes:
        return super().html() if self.run.done else self.run.html(**self.kept())

    def made(self, name: str) -> tuple[str, bytes] | None:
        run, (kind, _, number) = self.run, name.removeprefix("live/").partition("/")
        if not name.startswith("live/"):
            return super().made(name)
        if kind == "frame" and number.isdecimal() and int(number) in run.frames:
            return "image/jpeg", run.frames[int(number)]
        makers = {
            "state": ("application/json", lambda: _json(run.state())),
            "meta": ("application/json", lambda: _json(run.meta())),
            "maps": ("application/octet-stream", run.maps),
            "picture": ("image/jpeg", run.picture),
        }
        if number or kind not in makers:
            return None
        media, make = makers[kind]
        return media, make()

    def stored(self) -> dict[str, Any] | None:
        return super().stored() if self.run.done else self.waiting

    def store(self, content: dict[str, Any]) -> None:
        """Keep the measurements until there is a folder for them."""
        if self.run.done:
            super().store(content)
        else:
            self.waiting = content

    def apply(self) -> None:
        """Edits are applied to a result that is whole."""
        if not self.run.done:
            raise ValueError(f"{self.folder}: must hold the finished result; got a run that still goes; wait for it")
        super().apply()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(plain(value)).encode()


@contextmanager
def live_view(stack: FocalStack, folder: str | Path, settings: Settings, *, port: int = 0) -> Iterator[LiveServer]:
    """A server in a thread of its own that shows a run; it is closed when the block ends.

    Args:
        stack: The frames.
        folder: Where the result is going to be.
        settings: Every option.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
        ValueError: options that contradict each other.
    """
    server = LiveServer(folder, LiveRun(stack, settings, Path(folder).resolve().name), port=port)
    server.thread.start()
    try:
        yield server
    finally:
        server.close()
        server.thread.join()
