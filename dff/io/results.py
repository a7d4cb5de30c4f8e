"""The result folder: what a reconstruction found, one file a subject, and its inverse."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.alignments import check_format, read_alignment, write_alignment
from dff.io.atomic import existing_folder, read_json, write_json, writing_error
from dff.io.images import read_image
from dff.io.maps import read_map, write_map
from dff.io.metadata import read_metadata
from dff.io.pictures import picture_suffix, write_image
from dff.optics import height_map
from dff.settings import VERSION, Settings
from dff.stack import DepthMap, FloatArray, FocusGeometry, ImageMetadata, Reconstruction

FORMAT = "dff-reconstruction"
FORMAT_VERSION = 1
LIBRARIES = ("numpy", "scipy", "opencv-python", "torch", "open3d", "tifffile", "imagecodecs", "rawpy", "av")

RESULT_FILES = (
    "all_in_focus.*",
    "depth.tif",
    "index.tif",
    "confidence.tif",
    "sigma.tif",
    "alignment.json",
    "reconstruction.json",
    "points.*",
    "mesh.*",
    "previews",
    "slabs",
    "measurements.json",
    "edits.json",
    "originals",
)
"""Patterns of the names of everything in a result folder."""

_LITTER = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", "*.part")
"""What file managers and interrupted runs leave behind."""

_ROWS = 256


@dataclass(frozen=True)
class ResultPaths:
    """Where everything in a result folder is."""

    folder: Path
    suffix: str = ".png"
    """Ending of the all-in-focus picture."""

    @property
    def all_in_focus(self) -> Path:
        return self.folder / f"all_in_focus{self.suffix}"

    @property
    def depth(self) -> Path:
        return self.folder / "depth.tif"

    @property
    def index(self) -> Path:
        return self.folder / "index.tif"

    @property
    def confidence(self) -> Path:
        return self.folder / "confidence.tif"

    @property
    def sigma(self) -> Path:
        return self.folder / "sigma.tif"

    @property
    def alignment(self) -> Path:
        return self.folder / "alignment.json"

    @property
    def reconstruction(self) -> Path:
        return self.folder / "reconstruction.json"

    @property
    def previews(self) -> Path:
        return self.folder / "previews"

    def frame_preview(self, k: int) -> Path:
        """The small picture of frame k, as it was read."""
        return self.previews / "frames" / f"{k:03d}.jpg"

    def slab(self, start: int, stop: int, suffix: str) -> Path:
        """The sharp picture of the frames from start up to stop."""
        return self.folder / "slabs" / f"slab_{start:03d}-{stop - 1:03d}{suffix}"

    @property
    def measurements(self) -> Path:
        """What was measured in the viewer."""
        return self.folder / "measurements.json"

    @property
    def edits(self) -> Path:
        """What was painted in the viewer."""
        return self.folder / "edits.json"

    @property
    def originals(self) -> Path:
        """The untouched result, where edits are applied."""
        return self.folder / "originals"

    def points(self, suffix: str = ".ply") -> Path:
        """The point cloud in one of its formats."""
        return self.folder / f"points{suffix}"

    def mesh(self, suffix: str = ".ply") -> Path:
        """The mesh in one of its formats."""
        return self.folder / f"mesh{suffix}"


def result_paths(folder: str | Path, suffix: str | None = None) -> ResultPaths:
    """Where everything in a result folder is.

    Args:
        suffix: Ending of the all-in-focus picture; the default is that of the picture there, else .png.
    """
    base = Path(folder)
    if suffix is None:
        suffix = next((path.suffix for path in sorted(base.glob("all_in_focus.*")) if path.suffix != ".part"), ".png")
    return ResultPaths(base, suffix)


def check_output(folder: str | Path, *, force: bool = False, ours: Sequence[str] = RESULT_FILES) -> None:
    """Refuse a folder that results cannot be written into, before any work is done; creates nothing.

    A folder that holds anything but an earlier result is refused even with `force`, since it is replaced as a whole.

    Args:
        ours: Patterns of the names that a result consists of.

    Raises:
        ValueError: there is a result already and it may not be replaced, or there are other files.
        OSError: the folder cannot be made or written.
    """
    target = Path(folder)
    blocking = next((place for place in (target, *target.absolute().parents) if place.is_file()), None)
    if blocking is not None:
        raise NotADirectoryError(f"{target}: output must be a folder; got the file {blocking}; choose another name")
    parent = existing_folder(target.absolute())
    try:
        inside = sorted(target.iterdir()) if target.is_dir() else []
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise writing_error(target, error) from error
    for path in inside:
        if not any(path.match(pattern) for pattern in (*ours, *_LITTER)):
            raise ValueError(
                f"{target}: output must be a folder of its own; got {path.name} in it; choose another name"
            )
    if inside and not force:
        raise ValueError(f"{target}: output must be empty; got {inside[0].name}; replace it with --force")


def clear_result(folder: str | Path) -> None:
    """Delete the files of an earlier result; what is not ours stays."""
    for path in sorted(path for pattern in RESULT_FILES for path in Path(folder).glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_reconstruction(reconstruction: Reconstruction, folder: str | Path, *, force: bool = False) -> ResultPaths:
    """Write a reconstruction into a folder; reconstruction.json comes last, so that its presence means completeness.

    Args:
        folder: It may hold surfaces and previews already.
        force: Delete an earlier result there, with its surfaces and previews.

    Raises:
        ValueError: there is a complete result already and `force` is not set.
        OSError: the folder cannot be written, or the disk is full.
    """
    paths = ResultPaths(Path(folder), picture_suffix(reconstruction.suffix, reconstruction.all_in_focus.dtype))
    if paths.reconstruction.exists():
        if not force:
            raise ValueError(f"{folder}: must hold no result; got {paths.reconstruction.name}; replace it with --force")
        clear_result(folder)
    geometry, depth = reconstruction.geometry, reconstruction.depth
    height = heights_by_rows(depth.index, geometry)
    quality = reconstruction.settings.jpeg_quality
    maps = (
        (paths.depth, height, f"height z toward the camera in {geometry.z_unit}, 0 at the far end; NaN is unknown"),
        (paths.index, depth.index, "sharpest frame in frames, from 0, to a fraction of a frame; NaN is unknown"),
        (paths.confidence, depth.confidence, "probability that the index is right to one frame; 0 is unknown"),
        (paths.sigma, depth.sigma, "standard deviation of the index in frames; NaN is unknown"),
    )
    with ThreadPoolExecutor(2) as pool:
        written = pool.map(write_map, *zip(*maps))
        write_image(paths.all_in_focus, reconstruction.all_in_focus, reconstruction.metadata, quality=quality)
        list(written)
    write_alignment(reconstruction.alignment, paths.alignment, names=reconstruction.names)
    write_json(paths.reconstruction, _summary(reconstruction, height, paths))
    return paths


def heights_by_rows(index: FloatArray, geometry: FocusGeometry) -> NDArray[np.float32]:
    """(H, W) height of every pixel, some rows at a time to save memory."""
    height = np.empty(index.shape, np.float32)
    for start in range(0, len(height), _ROWS):
        rows = slice(start, start + _ROWS)
        height[rows] = height_map(index[rows], geometry)
    return height


def _summary(reconstruction: Reconstruction, height: NDArray[np.float32], paths: ResultPaths) -> dict[str, Any]:
    geometry = reconstruction.geometry
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "dff": VERSION,
        "units": {
            "depth.tif": geometry.z_unit,
            "index.tif": "frames, from 0",
            "sigma.tif": "frames",
            "confidence.tif": "probability",
            "points and mesh": geometry.unit,
        },
        "statistics": statistics(reconstruction, height),
        "warnings": reconstruction.warnings,
        "timings_s": reconstruction.timings_s,
        "fingerprint": reconstruction.fingerprint,
        "settings": reconstruction.settings.as_dict(),
        "versions": library_versions(),
        "picture": paths.all_in_focus.name,
        "input_suffix": reconstruction.suffix,
        "metadata": {name: value for name, value in asdict(reconstruction.metadata).items() if name not in _BLOCKS},
        "geometry": _geometry_table(geometry),
        "frames": reconstruction.names,
        "files": reconstruction.files,
        "edits": reconstruction.edits,
    }


_BLOCKS = ("exif", "icc")
"""Metadata that the picture itself carries."""


def statistics(reconstruction: Reconstruction, height: NDArray[np.float32]) -> dict[str, Any]:
    """What a reader of the result wants to know first."""
    depth = reconstruction.depth
    known = np.isfinite(height)
    unit = reconstruction.geometry.z_unit
    sure = bool(known.any())
    return {
        "size_px": list(height.shape),
        "frames": len(reconstruction.geometry),
        "known_share": float(known.mean()),
        f"lowest_{unit}": float(height[known].min()) if sure else None,
        f"highest_{unit}": float(height[known].max()) if sure else None,
        "median_confidence": float(np.median(depth.confidence[known])) if sure else None,
        "median_sigma_frames": float(np.nanmedian(depth.sigma[known])) if sure else None,
        "alignment_residual_px": reconstruction.alignment.residual_rms_px,
    }


def library_versions() -> dict[str, str]:
    """Versions of Python, the system and the libraries that a result depends on."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = packages.version(name)
        except packages.PackageNotFoundError:
            continue
    return found


def _geometry_table(geometry: FocusGeometry) -> dict[str, Any]:
    return {
        "capture": geometry.capture,
        "z_unit": geometry.z_unit,
        "xy_unit": geometry.xy_unit,
        "z": geometry.z,
        "pixel": geometry.pixel,
        "centre_px": geometry.centre_px,
    }


def read_reconstruction(folder: str | Path) -> Reconstruction:
    """The reconstruction in a result folder, the inverse of `write_reconstruction`.

    A JPEG picture comes back with JPEG's losses; EXIF as the picture carries it.

    Raises:
        OSError: there is no result.
        ValueError: files are damaged or of a later version.
    """
    base = Path(folder)
    summary_path = base / "reconstruction.json"
    if not summary_path.is_file():
        raise FileNotFoundError(f"{base}: must hold a result; got no reconstruction.json; name a result folder")
    content = read_json(summary_path)
    check_format(summary_path, content, FORMAT, FORMAT_VERSION)
    picture = base / Path(content["picture"]).name
    paths = ResultPaths(base, picture.suffix)
    try:
        with ThreadPoolExecutor(2) as pool:
            maps = pool.map(read_map, (paths.index, paths.confidence, paths.sigma))
            pixels = read_image(picture)
        return Reconstruction(
            all_in_focus=pixels,
            depth=DepthMap(*maps),
            geometry=_geometry(content["geometry"]),
            alignment=read_alignment(paths.alignment),
            settings=_settings(content["settings"]),
            metadata=_metadata(content["metadata"], picture),
            names=tuple(content["frames"]),
            files=tuple(content.get("files", ())),
            suffix=content["input_suffix"],
            timings_s=content["timings_s"],
            warnings=tuple(content["warnings"]),
            fingerprint=content.get("fingerprint", ""),
            edits=content.get("edits", {}),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{summary_path}: must be complete; got {error!r}; reconstruct again") from error


def read_fingerprint(folder: str | Path) -> str:
    """Fingerprint of the result in a folder; empty where there is no whole result."""
    try:
        return str(read_json(Path(folder) / "reconstruction.json").get("fingerprint", ""))
    except (OSError, ValueError):
        return ""


def _geometry(table: Mapping[str, Any]) -> FocusGeometry:
    return FocusGeometry(
        z=np.array(table["z"], float),
        pixel=np.array(table["pixel"], float),
        centre_px=np.array(table["centre_px"], float),
        z_unit=table["z_unit"],
        xy_unit=table["xy_unit"],
        capture=table["capture"],
    )


def _settings(values: Mapping[str, Any]) -> Settings:
    """Settings; options that this version does not know are left out."""
    known = {spec.name for spec in fields(Settings)}
    return Settings(**{name: value for name, value in values.items() if name in known})


def _metadata(values: Mapping[str, Any], picture: Path) -> ImageMetadata:
    carried = read_metadata(picture)
    return ImageMetadata(exif=carried.exif, icc=carried.icc, **values)
