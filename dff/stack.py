"""What passes between stages: focal stack, geometry, alignment, depth map, surface, reconstruction, scene.

Axes: arrays are (rows, columns); pixel coordinates are (x, y) with (0, 0) at the centre of the top-left
pixel. World coordinates are x right, y up, z toward the camera, with z = 0 at the far end of the sweep and
x = y = 0 at the image centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dff.settings import DEFAULTS, Settings

LATTICE = 4
"""Pixels along the side of a cell of the lattice that labels are decided on."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Rec. 709 weights of red, green and blue."""

FloatArray = NDArray[np.floating[Any]]
Capture = Literal["telecentric", "rail", "ring", "table", "unknown"]

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total); may raise KeyboardInterrupt to stop."""


def silent(stage: str, done: int, total: int) -> None:
    """A progress callback that says nothing."""


class Frames(Protocol):
    """Frames that are decoded one at a time."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        """Frame k, (H, W, C) in its own type: uint8, uint16 or float32; C is 1 or 3 (RGB)."""
        ...


@dataclass(frozen=True)
class ImageMetadata:
    """What a photograph says of itself, carried from the frames to the all-in-focus picture."""

    exif: bytes | None = None
    """EXIF block, starting with the TIFF header (no "Exif\\0\\0" prefix)."""
    icc: bytes | None = None
    """ICC profile."""
    camera: str | None = None
    lens: str | None = None
    focal_length_mm: float | None = None
    f_number: float | None = None
    pixel_pitch_mm: float | None = None
    """Size of a sensor pixel, where the file tells it."""
    pixel_size_mm: float | None = None
    """Size of a pixel on the subject, from microscope tags."""
    step_mm: float | None = None
    """Distance between planes of focus, from microscope tags."""


@dataclass(frozen=True)
class FocusGeometry:
    """Where each frame is in focus, and how large its pixels are there: one row a frame.

    A point in focus in frame k at that frame's own pixel u_k has X = (u_k - centre) pixel_k and Z = z_k.

    Raises:
        ValueError: lengths differ, values are not finite, z repeats or is not monotone, a size is not positive.
    """

    z: FloatArray
    """(N,) height of the plane of focus, toward the camera, in mm or frames; 0 at the far end; strictly monotone."""
    pixel: FloatArray
    """(N,) size of a pixel on the plane of focus, in mm or px."""
    centre_px: FloatArray
    """(N, 2) principal point (x, y) in the frame's own pixels."""
    z_unit: Literal["mm", "frames"]
    xy_unit: Literal["mm", "px"]
    capture: Capture = "unknown"

    def __post_init__(self) -> None:
        n = len(self.z)
        if np.shape(self.z) != (n,) or np.shape(self.pixel) != (n,) or np.shape(self.centre_px) != (n, 2):
            raise ValueError(
                "geometry: z and pixel must be (N,) and centre_px (N, 2); got "
                f"{np.shape(self.z)}, {np.shape(self.pixel)}, {np.shape(self.centre_px)}; give one row a frame"
            )
        if not all(np.isfinite(values).all() for values in (self.z, self.pixel, self.centre_px)):
            raise ValueError("geometry: every value must be finite; got NaN or infinity; mend the table")
        if not (np.asarray(self.pixel) > 0).all():
            raise ValueError(f"pixel size: must be positive; got {np.min(self.pixel)}; give a positive size")
        steps = np.diff(self.z)
        if n > 1 and not ((steps > 0).all() or (steps < 0).all()):
            signs = np.sign(steps)
            k = int(np.argmax(signs != signs[0])) if signs[0] else 0
            raise ValueError(
                f"z_mm: must be strictly monotone; got {self.z[k]:g}, {self.z[k + 1]:g} at frames {k}, {k + 1}; "
                "mend the table or sort the frames"
            )

    def __len__(self) -> int:
        return len(self.z)

    @property
    def metric(self) -> bool:
        """Whether all three axes are in mm."""
        return self.z_unit == "mm" and self.xy_unit == "mm"

    @property
    def unit(self) -> str:
        """The unit in words, for labels and file headers."""
        return "mm" if self.metric else f"x, y in {self.xy_unit}, z in {self.z_unit}"

    def rows(self, index: Sequence[int]) -> FocusGeometry:
        """The geometry of some frames."""
        chosen = list(index)
        return replace(self, z=self.z[chosen], pixel=self.pixel[chosen], centre_px=self.centre_px[chosen])


@dataclass(frozen=True)
class FocalStack:
    """N frames of one object, each focused at another distance; nothing is decoded until a frame is asked for.

    Raises:
        ValueError: fewer than two frames.
    """

    frames: Frames
    names: tuple[str, ...]
    shape: tuple[int, int, int]
    """(H, W, C)."""
    dtype: np.dtype[Any]
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    geometry: FocusGeometry | None = None
    suffix: str = ".png"
    """File name ending of the input, which the all-in-focus picture keeps."""
    positions: tuple[int, ...] = ()
    """Place of each frame in the sweep as it was taken, where frames were left out; empty means 0, 1, 2, ..."""
    files: tuple[str, ...] = ()
    """Absolute path of the file that each frame comes from; empty where frames come from no file."""
    digest: str = ""
    """Of names, sizes and dates of the files the frames come from; empty where they come from none."""

    def __post_init__(self) -> None:
        if len(self.frames) < 2:
            raise ValueError(f"focal stack: needs at least 2 frames; got {len(self.frames)}; give more frames")
        if len(self.names) != len(self.frames):
            raise ValueError(
                f"names: must be one a frame; got {len(self.names)} for {len(self.frames)}; name each frame"
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def white(self) -> float:
        """The value of full white in this stack's type: 255, 65535 or 1."""
        return float(np.iinfo(self.dtype).max) if np.issubdtype(self.dtype, np.integer) else 1.0

    @property
    def frame_bytes(self) -> int:
        """What one frame takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def subset(self, index: Sequence[int]) -> FocalStack:
        """Some of the frames, in the order given."""
        chosen = tuple(int(k) for k in index)
        return replace(
            self,
            frames=_Subset(self.frames, chosen),
            names=tuple(self.names[k] for k in chosen),
            positions=tuple(self.positions[k] if self.positions else k for k in chosen),
            files=tuple(self.files[k] for k in chosen) if self.files else (),
            geometry=None if self.geometry is None else self.geometry.rows(chosen),
        )


@dataclass(frozen=True)
class _Subset:
    frames: Frames
    index: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        return self.frames[self.index[k]]


@dataclass(frozen=True)
class Alignment:
    """How each frame is moved onto the reference frame.

    Raises:
        ValueError: arrays whose lengths differ.
    """

    transforms: FloatArray
    """(N, 3, 3) projective maps from a frame's own pixels to the reference frame's, (x, y, 1) columns."""
    gains: FloatArray
    """(N,) factors that bring a frame to the reference frame's brightness."""
    residual_px: FloatArray
    """(N,) rms misregistration against the neighbour toward the reference, in px; NaN where it was not measured."""
    models: tuple[str, ...]
    """The motion model used for each frame."""
    reference: int
    size_px: tuple[int, int]
    """(H, W) of the frames."""

    def __post_init__(self) -> None:
        n = len(self.transforms)
        shapes = (np.shape(self.transforms), np.shape(self.gains), np.shape(self.residual_px), len(self.models))
        if shapes != ((n, 3, 3), (n,), (n,), n):
            raise ValueError(f"alignment: arrays must be (N, 3, 3), (N,), (N,), N; got {shapes}; give one row a frame")
        if not 0 <= self.reference < n:
            raise ValueError(f"reference: must be a frame from 0 to {n - 1}; got {self.reference}; choose one")

    def __len__(self) -> int:
        return len(self.transforms)

    @staticmethod
    def identity(count: int, size_px: tuple[int, int]) -> Alignment:
        """The alignment of frames that need none."""
        return Alignment(
            transforms=np.tile(np.eye(3), (count, 1, 1)),
            gains=np.ones(count),
            residual_px=np.full(count, np.nan),
            models=("none",) * count,
            reference=count // 2,
            size_px=size_px,
        )

    @property
    def residual_rms_px(self) -> float:
        """Misregistration of the whole stack; NaN where none was measured."""
        known = self.residual_px[np.isfinite(self.residual_px)]
        return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")


@dataclass(frozen=True)
class DepthMap:
    """Which frame is sharpest at every pixel, to a fraction of a frame."""

    index: FloatArray
    """(H, W) float32 sub-frame index in the reference frame's pixels; NaN where unknown."""
    confidence: FloatArray
    """(H, W) float32, probability that the index is right to one frame; 0 where unknown."""
    sigma: FloatArray
    """(H, W) float32 standard deviation of the index in frames; NaN where unknown."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(H, W) where the depth is known."""
        return np.isfinite(self.index)


@dataclass(frozen=True)
class Reconstruction:
    """Everything a reconstruction found."""

    all_in_focus: NDArray[Any]
    """(H, W, C) in the frames' own type."""
    depth: DepthMap
    geometry: FocusGeometry
    alignment: Alignment
    settings: Settings = DEFAULTS
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    names: tuple[str, ...] = ()
    """Names of the frames in the order used."""
    files: tuple[str, ...] = ()
    """Absolute path of the file that each of them came from; empty where they came from no file."""
    suffix: str = ".png"
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""
    """Digest of the frames and options it was made of; empty where the frames come from no files."""
    edits: Mapping[str, int] = field(default_factory=dict)
    """Strokes of the brush that are applied, by kind; empty in an untouched result."""


@dataclass(frozen=True)
class PointCloud:
    """Points of a surface: x right, y up, z toward the camera.

    Raises:
        ValueError: arrays whose lengths differ.
    """

    points: FloatArray
    """(n, 3) float32."""
    colours: NDArray[np.uint8]
    """(n, 3) sRGB."""
    normals: FloatArray
    """(n, 3) float32 of unit length, toward the camera."""
    confidence: FloatArray
    """(n,) float32, 0 to 1."""
    unit: str = "mm"
    """The unit in words, as FocusGeometry.unit gives it."""

    def __post_init__(self) -> None:
        n = len(self.points)
        shapes = tuple(np.shape(part) for part in (self.points, self.colours, self.normals, self.confidence))
        if shapes != ((n, 3), (n, 3), (n, 3), (n,)):
            raise ValueError(f"point cloud: arrays must be (n, 3) thrice and (n,); got {shapes}; give one a point")

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Mesh:
    """Triangles between shared vertices, counter-clockwise seen from the camera; axes as a point cloud's.

    Raises:
        ValueError: arrays whose lengths differ.
    """

    vertices: FloatArray
    """(n, 3) float32."""
    triangles: NDArray[np.int32]
    """(m, 3) indices of vertices."""
    normals: FloatArray
    """(n, 3) float32 of unit length, toward the camera."""
    colours: NDArray[np.uint8]
    """(n, 3) sRGB."""
    uv: FloatArray
    """(n, 2) float32 place in the picture from 0 to 1, u right, v up, (0, 0) at its bottom-left corner."""
    unit: str = "mm"
    """The unit in words, as FocusGeometry.unit gives it."""

    def __post_init__(self) -> None:
        n, m = len(self.vertices), len(self.triangles)
        shapes = tuple(np.shape(p) for p in (self.vertices, self.triangles, self.normals, self.colours, self.uv))
        if shapes != ((n, 3), (m, 3), (n, 3), (n, 3), (n, 2)):
            raise ValueError(
                f"mesh: arrays must be (n, 3), (m, 3), (n, 3), (n, 3), (n, 2); got {shapes}; give one row a vertex"
            )


@dataclass(frozen=True)
class Scene:
    """A focal stack with its truth."""

    name: str
    stack: FocalStack
    """Carries its true geometry."""
    index: FloatArray
    """(H, W) true sub-frame index of the chief ray's first hit in the reference frame; NaN outside the sweep."""
    z: FloatArray
    """(H, W) true height, in the unit of the geometry."""
    sharp: FloatArray
    """(H, W, C) float32 0..1 all-in-focus picture through the lens's in-focus kernel."""
    visible: FloatArray
    """(H, W) share of the aperture that sees the point, 1 = nothing in the way."""
    bound: FloatArray
    """(H, W) least possible standard deviation of the index in frames (optics.focus_limit)."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the scene was rendered with."""
    texture: FloatArray | None = None
    """(H, W) what the bound is made of: variance times mean frequency of the sharp luminance in its window."""
    alignment: Alignment | None = None
    """The true alignment: each frame's slice in focus onto the reference frame's view."""
