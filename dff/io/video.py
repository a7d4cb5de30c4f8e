"""Videos as focal stacks: any frame exactly, neighbouring frames fast, nothing but one frame in memory."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.checks import FrameError
from dff.io.formats import unreadable


class VideoFrames:
    """The frames of a video, decoded when asked for; 8 bit a sample, or 16 where the video has more.

    Times of all frames are read from the packets, without decoding. A later frame is reached by decoding on, unless a
    key frame is nearer.

    Raises:
        ValueError: PyAV is not installed.
        FrameError: the file is not a video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._decoder: Iterator[Any] | None = None
        self._container: Any = None
        self._next = 0
        with self._open() as container:
            stream = container.streams.video[0]
            self.times, self._key_times = _packet_times(container, stream)
            if not self.times:
                raise FrameError(f"{path}: must hold frames; got none with a time; convert the video")
            deep, grey = _samples(stream.codec_context.pix_fmt)
            self.shape = (stream.codec_context.height, stream.codec_context.width, 1 if grey else 3)
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)
        self._format = {(1, 1): "gray", (1, 2): "gray16le", (3, 1): "rgb24", (3, 2): "rgb48le"}[
            self.shape[2], self.dtype.itemsize
        ]

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        k = range(len(self))[k]
        with self._lock:
            frame = self._frame_at(k)
        array = frame.to_ndarray(format=self._format)
        return np.ascontiguousarray(array.reshape(self.shape))

    def close(self) -> None:
        """Close the file; it opens again when a frame is asked for."""
        with self._lock:
            self._stop()

    def __del__(self) -> None:
        self._stop()

    def _open(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise ValueError(f"{self.path}: videos need PyAV; got no such package; pip install av") from error
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            raise unreadable(self.path, error) from error
        if not container.streams.video:
            container.close()
            raise FrameError(f"{self.path}: must hold a video stream; got none; choose another file")
        return container

    def _stop(self) -> None:
        self._decoder = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _frame_at(self, k: int) -> Any:
        import av

        try:
            if not self._goes_on_to(k):
                self._seek(k)
            for frame in self._decoder or ():
                if frame.pts is not None and frame.pts >= self.times[k]:
                    self._next = k + 1
                    return frame
        except av.FFmpegError as error:
            raise unreadable(self.path, error) from error
        self._stop()
        raise FrameError(
            f"{self.path}[{k}]: must be whole; got a video cut short; copy it again or leave it out with --skip-bad"
        )

    def _goes_on_to(self, k: int) -> bool:
        """Whether decoding on is the fastest way to frame k: no key frame lies in between."""
        if self._decoder is None or k < self._next:
            return False
        first, last = (bisect_right(self._key_times, self.times[place]) for place in (self._next, k))
        return k == self._next or first == last

    def _seek(self, k: int) -> None:
        self._stop()
        self._container = self._open()
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        if k:
            self._container.seek(self.times[k], stream=stream, backward=True)
        self._decoder = self._container.decode(stream)


def _packet_times(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Presentation times of the frames that a decoder shows, and of the key frames among them, sorted."""
    packets = [
        (packet.pts, packet.is_keyframe)
        for packet in container.demux(stream)
        if packet.size and packet.pts is not None and not packet.is_discard
    ]
    return sorted(time for time, _ in packets), sorted(time for time, is_key in packets if is_key)


def _samples(pixel_format: str) -> tuple[bool, bool]:
    """(more than 8 bit, grey) of a pixel format."""
    import av

    components = av.VideoFormat(pixel_format).components
    return max(part.bits for part in components) > 8, len(components) == 1 and not pixel_format.startswith("pal")
