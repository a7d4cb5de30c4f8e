"""What a page carries of a result: maps packed for the browser, the picture, small frames, and the geometry.

Maps are predicted from their neighbours, split into byte planes and deflated in blocks of rows, which both Python and
the browser work on side by side. The sub-frame index is kept to a fixed quantum; everything metric is worked out from
it by the same table as everywhere else.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dff import io, optics, surface
from dff.preview.still import fitting_relief
from dff.settings import VERSION, Settings
from dff.stack import Alignment, DepthMap, FloatArray, FocusGeometry, Mesh, Reconstruction
from dff.surface.back_projection import back_project_pixels, plane_maps
from dff.surface.cloud import colours_8bit
from dff.surface.grid import grid_normals

MAX_SIDE_PX = 8192
"""Textures of this size are drawn by every driver, software ones included."""
CONFIDENCE_LEVELS = 50
SIGMA_LEAST, SIGMA_RATIO = 1e-3, 1.08
"""Code c of a standard deviation means LEAST * RATIO**c frames; 255 is unknown."""
ACROSS, DOWN, STRAY = 1, 2, 4
"""Bits of a pixel: joined to the one at its right, to the one below; an outlier or island."""

QUANTA = ((2_000_000, 2.0**-10), (8_000_000, 2.0**-8), (math.inf, 2.0**-7))
"""Step of the packed index in frames for maps of up to so many pixels: large pages stay below 20 MB."""
COARSE = "coarse."
"""How the names of the parts begin that the first picture of a large page is made of."""
_COARSE_PX, _COARSE_STEP = 180_000, 3
_BLOCK_PX = 1 << 19
_DEFLATE_LEVEL = 3
_FRAMES_BYTES = 6_000_000
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Payload:
    """The parts of a page."""

    meta: Mapping[str, Any]
    maps: Mapping[str, list[bytes]]
    """Deflated blocks of rows by name: index, confidence, sigma, flags."""
    pictures: Mapping[str, bytes]
    """JPEG by name."""
    frames: list[bytes]
    """One small JPEG a frame, not aligned; empty where the result has none."""

    def texts(self) -> dict[str, str]:
        """Everything but `meta` in base64, by the id it has in the page."""
        parts = {f"{name}.{k}": block for name, blocks in self.maps.items() for k, block in enumerate(blocks)}
        parts |= self.pictures
        parts |= {f"frame.{k}": frame for k, frame in enumerate(self.frames)}
        return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def make_payload(result: Reconstruction, folder: str | Path, *, max_megapixels: float = 12.0) -> Payload:
    """Pack a result for the browser.

    Args:
        result: What `read_reconstruction` gave.
        folder: Its folder, for the small frames and the title.
        max_megapixels: A larger map is thinned to every second, third, ... row and column; its points stay those
            that were measured.
    """
    stride = stride_for(result.depth.index.shape, max_megapixels)
    thinning = stride, (stride - 1) // 2
    frames = _frames(Path(folder), len(result.geometry))
    small, shown = thinned_result(result, *thinning)
    return payload_of(small, Path(folder), shown, frames, thinning)


def thinned_result(result: Reconstruction, stride: int, first: int) -> tuple[Reconstruction, NDArray[np.bool_]]:
    """A result with the maps and the picture of its page, and which of their pixels belong to the exported surface."""
    depth, shown = _thinned(result, stride, first)
    picture = _thinned_picture(result.all_in_focus, stride, depth.index.shape)
    return replace(result, depth=depth, all_in_focus=picture), shown


def payload_of(
    result: Reconstruction, folder: Path, shown: NDArray[np.bool_], frames: list[bytes], thinning: tuple[int, int]
) -> Payload:
    """Pack a result whose maps and picture are thinned already.

    Args:
        result: Its maps and picture are those of the page; geometry and alignment those of the frames.
        folder: The title is its name.
        shown: (H, W) which pixels belong to the exported surface.
        frames: Small frames, JPEG.
        thinning: Every how manieth row and column the maps hold, and the first of them.
    """
    with ThreadPoolExecutor(2) as pool:
        meta = pool.submit(meta_of, result, folder, shown, thinning)
        picture = pool.submit(lambda: jpeg(colours_8bit(result.all_in_focus), _JPEG_QUALITY))
        rows, maps = _packed_maps(result, shown)
    whole = Payload(
        {**meta.result(), "rows": rows, "frames": len(frames), "coarse": None},
        maps,
        {"picture": picture.result()},
        frames,
    )
    step = math.isqrt(shown.size // _COARSE_PX)
    return whole if step < _COARSE_STEP else _with_coarse(whole, result, shown, step)


def _with_coarse(whole: Payload, result: Reconstruction, shown: NDArray[np.bool_], step: int) -> Payload:
    """A payload with every so manieth pixel besides: of them the page makes its first picture."""
    first, depth = (step - 1) // 2, result.depth
    rows, columns = (side // step for side in shown.shape)

    def thin(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values[first::step, first::step][:rows, :columns])

    small = DepthMap(thin(depth.index), thin(depth.confidence), thin(depth.sigma))
    picture = _thinned_picture(result.all_in_focus, step, small.index.shape)
    block, maps = _packed_maps(replace(result, depth=small), thin(shown), whole.meta["quantum"])
    coarse = {
        "size": list(small.index.shape),
        "stride": whole.meta["stride"] * step,
        "first": whole.meta["first"] + first * whole.meta["stride"],
        "rows": block,
    }
    early = {f"{COARSE}{name}": blocks for name, blocks in maps.items()}
    pictures = {f"{COARSE}picture": jpeg(colours_8bit(picture), _JPEG_QUALITY), **whole.pictures}
    return replace(whole, meta={**whole.meta, "coarse": coarse}, maps={**early, **whole.maps}, pictures=pictures)


def _packed_maps(
    result: Reconstruction, shown: NDArray[np.bool_], quantum: float | None = None
) -> tuple[int, dict[str, list[bytes]]]:
    """Rows in a block, and the deflated blocks of each map."""
    rows = max(1, _BLOCK_PX // shown.shape[1])
    return rows, {name: packed_blocks(plane, rows) for name, plane in planes_of(result, shown, quantum).items()}


def planes_of(
    result: Reconstruction, shown: NDArray[np.bool_], quantum: float | None = None
) -> dict[str, NDArray[Any]]:
    """The maps of a page in the whole numbers that it holds, by name: index, confidence, sigma, flags."""
    depth = result.depth
    step = quantum or quantum_for(depth.index.size, len(result.geometry))
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "flags": lambda: _flags(depth, shown, result.settings),
        "index": lambda: packed_index(depth.index, step),
        "sigma": lambda: _sigma_code(depth.sigma),
        "confidence": lambda: np.floor(depth.confidence * CONFIDENCE_LEVELS + 1e-3).astype(np.uint8),
    }
    with ThreadPoolExecutor(2) as pool:
        planes = {name: pool.submit(make) for name, make in makers.items()}
    return {name: planes[name].result() for name in ("index", "confidence", "sigma", "flags")}


def meta_of(
    result: Reconstruction, folder: Path, shown: NDArray[np.bool_], thinning: tuple[int, int]
) -> dict[str, Any]:
    """What a page says and works with besides its maps; arguments as of payload_of."""
    depth, (stride, first) = result.depth, thinning
    return {
        **_about(result, folder),
        "size": list(depth.index.shape),
        "stride": stride,
        "first": first,
        "quantum": quantum_for(depth.index.size, len(result.geometry)),
        "confidence_levels": CONFIDENCE_LEVELS,
        "sigma_code": [SIGMA_LEAST, SIGMA_RATIO],
        **_ranges(depth, shown, result.geometry, result.alignment, stride, first),
    }


def stride_for(size_px: tuple[int, ...], max_megapixels: float) -> int:
    """Every how manieth row and column is shown so that a map stays within the limits."""
    megapixels = size_px[0] * size_px[1] / 1e6
    return max(1, math.ceil(math.sqrt(megapixels / max_megapixels) - 1e-9), -(-max(size_px[:2]) // MAX_SIDE_PX))


def quantum_for(pixels: int, frames: int) -> float:
    """Step of the packed index in frames: far below the noise, and fine enough for 16 bits."""
    fine = next(step for most, step in QUANTA if pixels <= most)
    return max(fine, (frames - 1) / 65533)


def packed_index(index: FloatArray, quantum: float) -> NDArray[np.uint16]:
    """1 + index / quantum, 0 where unknown."""
    code = np.round(np.nan_to_num(index) / np.float32(quantum)) + 1
    return np.where(np.isnan(index), 0, code).astype(np.uint16)


def deflated(plane: NDArray[Any]) -> bytes:
    """A block of uint8 or uint16 as zigzag residuals of left + above - corner, low bytes first, raw deflate."""
    bits = plane.dtype.itemsize * 8
    zero = plane.dtype.type(0)
    residual = np.diff(np.diff(plane, axis=1, prepend=zero), axis=0, prepend=zero)
    sign = np.zeros_like(residual) - (residual >> (bits - 1))
    folded = (residual << 1) ^ sign
    parts = folded.astype(f"<u{bits // 8}").view(np.uint8).reshape(-1, bits // 8).T
    return bytes(imagecodecs.deflate_encode(np.ascontiguousarray(parts).tobytes(), level=_DEFLATE_LEVEL, raw=True))


def packed_blocks(plane: NDArray[Any], rows: int) -> list[bytes]:
    """A map as deflated blocks of rows, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(deflated, [plane[top : top + rows] for top in range(0, len(plane), rows)]))


def _thinned(result: Reconstruction, stride: int, first: int) -> tuple[DepthMap, NDArray[np.bool_]]:
    """The map that is shown, and which of its pixels belong to the exported surface."""
    settings = result.settings
    chosen = surface.select_surface(
        result.depth,
        min_confidence=settings.min_confidence,
        outlier_sigma=settings.outlier_sigma,
        cut_frames=settings.cut_frames,
    )
    rows, columns = (side // stride for side in result.depth.index.shape)

    def thin(values: NDArray[Any]) -> NDArray[Any]:
        return values[first::stride, first::stride][:rows, :columns]

    depth = result.depth
    return DepthMap(thin(depth.index), thin(depth.confidence), thin(depth.sigma)), thin(chosen.known)


def _sigma_code(sigma: FloatArray) -> NDArray[np.uint8]:
    known = np.isfinite(sigma)
    least = np.where(known, np.maximum(sigma, np.float32(SIGMA_LEAST)), np.float32(SIGMA_LEAST)).astype(np.float32)
    ratio = np.asarray(cv2.log(least / np.float32(SIGMA_LEAST)), np.float32) * np.float32(1 / math.log(SIGMA_RATIO))
    return np.where(known, np.minimum(np.rint(ratio), 254), 255).astype(np.uint8)


def _flags(depth: DepthMap, shown: NDArray[np.bool_], settings: Settings) -> NDArray[np.uint8]:
    """Which pixels are joined: as in the exported mesh between its pixels, as in the whole map elsewhere.

    A stray is confident enough for the mesh, and left out of it all the same.
    """
    confident = depth.known & (depth.confidence >= settings.min_confidence)
    flags = np.where(confident & ~shown, STRAY, 0).astype(np.uint8)
    maps = depth.index, np.where(shown, depth.index, np.float32(np.nan))
    with ThreadPoolExecutor(2) as pool:
        everywhere, exported = pool.map(lambda index: surface.joined(index, settings.cut_frames), maps)
    for bit, whole, part, pair in (
        (ACROSS, everywhere[0], exported[0], shown[:, 1:] & shown[:, :-1]),
        (DOWN, everywhere[1], exported[1], shown[1:] & shown[:-1]),
    ):
        links = np.where(pair, part, whole)
        flags[: links.shape[0], : links.shape[1]] |= np.where(links, bit, 0).astype(np.uint8)
    return flags


def _about(result: Reconstruction, folder: Path) -> dict[str, Any]:
    """What the page says and works with besides its maps."""
    geometry, settings = result.geometry, result.settings
    return {
        "format": "dff-page",
        "version": 1,
        "dff": VERSION,
        "title": folder.resolve().name,
        "z_unit": geometry.z_unit,
        "xy_unit": geometry.xy_unit,
        "maps": plane_maps(geometry, result.alignment).reshape(-1, 9)[:, :8],
        "z": geometry.z,
        "centre": geometry.centre_px[result.alignment.reference],
        "transforms": result.alignment.transforms.reshape(-1, 9),
        "gains": result.alignment.gains,
        "frame_size": list(result.alignment.size_px),
        "names": result.names,
        "min_confidence": settings.min_confidence,
        "cut_frames": settings.cut_frames,
        "window_sigma_px": settings.window_sigma_px,
        "warnings": result.warnings,
        "known_share": float(result.depth.known.mean()),
        "camera": result.metadata.camera,
        "measurements": None,
        "kept": None,
        "edits": None,
        "applied": None,
        "untouched": False,
        "served": False,
    }


def _ranges(
    depth: DepthMap,
    shown: NDArray[np.bool_],
    geometry: FocusGeometry,
    alignment: Alignment,
    stride: int,
    first: int,
) -> dict[str, Any]:
    """Where the surface lies, on a coarse grid of its own: what colours, camera and exaggeration start from."""
    coarse = max(1, max(depth.index.shape) // 400)
    thin = np.s_[::coarse, ::coarse]
    index = np.where((shown if shown.any() else depth.known)[thin], depth.index[thin], np.float32(np.nan))
    if np.isnan(index).all():
        # Nothing is known: the room that the frames could show.
        index[:], index[: len(index) // 2] = len(geometry) - 1, 0
    rows, columns = (np.arange(count, dtype=np.float32) * coarse * stride + first for count in index.shape)
    points = back_project_pixels(columns[None, :], rows[:, None], index, geometry, alignment)
    known = np.isfinite(index)
    low, high = np.percentile(points[known], (0.5, 99.5), axis=0)
    slope = optics.interpolate(np.abs(np.gradient(np.asarray(geometry.z, float))), index[known])
    sigma = depth.sigma[thin][known] * slope
    sigma = sigma[np.isfinite(sigma)]
    normals = grid_normals(points, *surface.joined(index, 3.0))
    return {
        "heights": [float(low[2]), float(max(high[2], low[2] + 1e-9))],
        "box": [low, high],
        "relief": _relief(points[known], normals[known], geometry.unit),
        "sigmas": np.percentile(sigma, (2, 98)) if sigma.size else [0.01, 1.0],
        "facing": np.mean(normals[known], axis=0)[:2],
    }


def _relief(points: FloatArray, normals: FloatArray, unit: str) -> float:
    count = len(points)
    colours, uv, triangles = np.zeros((count, 3), np.uint8), np.zeros((count, 2)), np.zeros((0, 3), np.int32)
    return fitting_relief(Mesh(points, triangles, normals, colours, uv, unit))


def _thinned_picture(picture: NDArray[Any], stride: int, size_px: tuple[int, ...]) -> NDArray[Any]:
    if stride == 1:
        return picture
    cropped = picture[: size_px[0] * stride, : size_px[1] * stride]
    return np.atleast_3d(cv2.resize(cropped, size_px[1::-1], interpolation=cv2.INTER_AREA))


def jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture (H, W, 3) sRGB as JPEG."""
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"picture: must be encodable as JPEG; got {picture.shape}; thin it with --max-megapixels")
    return data.tobytes()


def _frames(folder: Path, count: int) -> list[bytes]:
    """The small frames of the result's previews, smaller still where they would make the page heavy."""
    paths = [io.result_paths(folder).frame_preview(k) for k in range(count)]
    if not all(path.is_file() for path in paths):
        return []
    stored = [path.read_bytes() for path in paths]
    share = _FRAMES_BYTES / sum(map(len, stored))
    return stored if share >= 1 else [_smaller(data, share) for data in stored]


def _smaller(data: bytes, share: float) -> bytes:
    picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    factor = max(0.25, math.sqrt(share))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return jpeg(np.asarray(small, np.uint8)[..., ::-1], 75)
