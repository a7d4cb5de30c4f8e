"""Short films: MP4 that every browser plays, and GIF."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.atomic import atomic_path

_CRF = "18"
_GIF_COLOURS = 192


def write_film(path: str | Path, pictures: Iterable[NDArray[np.uint8]], *, frames_per_s: float) -> None:
    """Write pictures as a film, whole or not at all.

    Args:
        path: Its ending chooses MP4 (H.264, one picture at a time) or GIF (endless; all pictures are held).
        pictures: (H, W, 3) sRGB of one size.
        frames_per_s: Speed.

    Raises:
        ValueError: another ending, or no picture.
        ImportError: MP4 without PyAV.
        OSError: the file cannot be written.
    """
    target = Path(path)
    write = {".mp4": _write_mp4, ".gif": _write_gif}.get(target.suffix.lower())
    if write is None:
        raise ValueError(f"{target}: a film must end in .mp4 or .gif; got {target.suffix!r}; choose one of them")
    with atomic_path(target) as temporary:
        write(temporary, pictures, frames_per_s)


def _write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], frames_per_s: float) -> None:
    try:
        import av
    except ImportError as error:
        raise ImportError('MP4 needs PyAV: pip install "dff[video]", or choose GIF') from error
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for picture in pictures:
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(frames_per_s).limit_denominator(1000))
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": _CRF, "preset": "medium"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        if stream is None:
            raise ValueError(f"{path.name}: a film needs pictures; got none; give at least one")
        container.mux(stream.encode())


def _write_gif(path: Path, pictures: Iterable[NDArray[np.uint8]], frames_per_s: float) -> None:
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    if not images:
        raise ValueError(f"{path.name}: a film needs pictures; got none; give at least one")
    palette = _common_palette(images)
    frames = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    frames[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / frames_per_s),
        loop=0,
        optimize=False,
    )


def _common_palette(images: list[Any]) -> Any:
    """One palette for all, so that still parts do not flicker."""
    from PIL import Image

    some = images[:: max(1, len(images) // 8)]
    width, height = some[0].size
    strip = Image.new("RGB", (width, height * len(some)))
    for k, image in enumerate(some):
        strip.paste(image, (0, k * height))
    return strip.quantize(_GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
