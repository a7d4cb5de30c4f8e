"""Maps of one number a pixel: float32 TIFF files that keep NaN and say their unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.atomic import atomic_path
from dff.io.pictures import write_tiff_page
from dff.io.tiffs import open_tiff

_LEVEL = 1
"""Deflate level: the noise in the last bits of a map leaves little to gain from more work."""


def write_map(path: str | Path, array: NDArray[Any], description: str) -> None:
    """Write (H, W) numbers as a float32 TIFF, whole or not at all; NaN stays NaN.

    Args:
        description: What the numbers are, with their unit, in the file's description tag.

    Raises:
        ValueError: the array is not (H, W), or the path does not end in .tif.
        OSError: the file cannot be written.
    """
    values = np.asarray(array)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{path}: a map must be (H, W); got {values.shape}; write each channel on its own")
    if Path(path).suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"{path}: a map must end in .tif; got {Path(path).suffix!r}; rename it")
    with atomic_path(path) as temporary:
        # No floating-point predictor: ImageJ cannot undo it.
        write_tiff_page(
            temporary,
            values.astype(np.float32, copy=False),
            description=description.encode("ascii", "replace").decode(),
            compressionargs={"level": _LEVEL},
        )


def read_map(path: str | Path) -> NDArray[np.float32]:
    """A map as (H, W) float32.

    Raises:
        OSError: there is no such file.
        ValueError: it is not a TIFF file of one number a pixel.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: must be a file; got no such file; check the name")
    with open_tiff(source) as tif:
        values = tif.pages.first.asarray()
    if values.ndim != 2:
        raise ValueError(f"{source}: a map must be (H, W); got {values.shape}; it is no map")
    return values.astype(np.float32, copy=False)


def read_description(path: str | Path) -> str:
    """What a map's numbers are."""
    with open_tiff(Path(path)) as tif:
        return str(tif.pages.first.description)


def write_grid(path: str | Path, array: NDArray[Any]) -> None:
    """Write an array as a NumPy file (.npy), whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
