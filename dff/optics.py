"""Thin-lens relations, blur, depth of field, the geometry of each kind of capture, and the precision limit.

Symbols: f focal length, N f-number, m magnification (image size over subject size), p pixel pitch, o and i the
distances of subject and image from the principal planes. Thin lens: 1/f = 1/o + 1/i, so m = i/o = f/(o - f).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from dff.stack import Capture, FloatArray, FocusGeometry

_BLOCK_PX = 1 << 20


def magnification(focal_length_mm: float, focus_distance_mm: float | FloatArray) -> FloatArray:
    """Magnification m = f / (o - f) of a thin lens focused at distance o.

    Raises:
        ValueError: a distance is not beyond the focal length.
    """
    distance = np.asarray(focus_distance_mm, float)
    if not (distance > focal_length_mm).all():
        raise ValueError(
            f"focus_distance_mm: must be more than the focal length {focal_length_mm:g} mm; "
            f"got {distance.min():g}; check the unit"
        )
    return focal_length_mm / (distance - focal_length_mm)


def effective_f_number(f_number: float, m: float | FloatArray, pupil_magnification: float = 1.0) -> FloatArray:
    """Working f-number N (1 + m / P) at magnification m with pupil magnification P."""
    return f_number * (1 + np.asarray(m, float) / pupil_magnification)


def circle_of_confusion(
    defocus_mm: float | FloatArray, *, f_number: float, m: float | FloatArray, pixel_pitch_mm: float
) -> FloatArray:
    """Diameter of the blur disc on the sensor, px, of a point `defocus_mm` from the plane of focus.

    c = m² |dz| / (N_eff p), for |dz| small against the focus distance.
    """
    working = effective_f_number(f_number, m)
    return np.asarray(m, float) ** 2 * np.abs(defocus_mm) / (working * pixel_pitch_mm)


def blur_growth(step_mm: float, *, f_number: float, m: float, pixel_pitch_mm: float) -> float:
    """Growth of the blur's standard deviation per frame, px: a quarter of the disc's diameter."""
    return float(circle_of_confusion(step_mm, f_number=f_number, m=m, pixel_pitch_mm=pixel_pitch_mm)) / 4


def focus_limit(
    noise: float | FloatArray,
    *,
    texture_variance: float | FloatArray,
    texture_frequency: float | FloatArray,
    blur_growth_px: float,
    window_sigma_px: float,
) -> FloatArray:
    """Least standard deviation of a focus position, in frames, that any unbiased estimator can reach.

    sigma² >= s² / (4 π w² π^1.5 a V f): the Cramér-Rao bound of a patch of unknown texture under a blur whose
    standard deviation grows linearly with defocus, for a dense sweep (a <= 1.4 px a frame).

    Args:
        noise: Standard deviation s of the noise of one frame, in the unit of the image.
        texture_variance: Variance V of the in-focus texture, in that unit squared.
        texture_frequency: Mean frequency f of the texture, cycles per px.
        blur_growth_px: Growth a of the blur's standard deviation, px a frame.
        window_sigma_px: Standard deviation w of the Gaussian window, px.
    """
    area = 4 * math.pi * window_sigma_px**2
    information = area * math.pi**1.5 * blur_growth_px * np.asarray(texture_variance) * np.asarray(texture_frequency)
    with np.errstate(divide="ignore"):
        return np.asarray(noise) / np.sqrt(information)


def exact_focus_limit(
    noise: float,
    *,
    texture_power: FloatArray,
    texture_frequency: FloatArray,
    blur_growth_px: float,
    window_sigma_px: float,
    index: float,
    frames: int,
) -> float:
    """The bound of `focus_limit` for a given texture spectrum, place in the sweep and number of frames, in frames.

    J = A / s² Σ_f S(f) [ Σ_k H'² - (Σ_k H H')² / Σ_k H² ] with H(f, k) = exp(-2 π² f² a² (index - k)²): the Fisher
    information of the index once the unknown texture is profiled out, summed over frequencies and frames.

    Args:
        noise: Standard deviation s of the noise of one frame, in the unit of the image.
        texture_power: (F,) share of the in-focus texture's variance at each frequency, in that unit squared.
        texture_frequency: (F,) spatial frequencies f, cycles per px.
        blur_growth_px: Growth a of the blur's standard deviation, px a frame.
        window_sigma_px: Standard deviation w of the Gaussian window, px; the patch has A = 4 π w² pixels.
        index: Where the patch is in focus, in frames.
        frames: Number of frames.
    """
    curvature = (2 * math.pi * blur_growth_px * np.asarray(texture_frequency, float)[:, None]) ** 2
    defocus = index - np.arange(frames)
    transfer = np.exp(-0.5 * curvature * defocus**2)
    slope = -curvature * defocus * transfer
    profiled = (slope**2).sum(1) - (transfer * slope).sum(1) ** 2 / (transfer**2).sum(1)
    information = 4 * math.pi * window_sigma_px**2 * float(np.asarray(texture_power, float) @ profiled)
    return noise / math.sqrt(information) if information > 0 else math.inf


USEFUL_BLUR_GROWTH_PX = (0.3, 1.4)
"""Growth of the blur per frame between which no frame is wasted and no precision is lost."""


def useful_steps(*, f_number: float, m: float, pixel_pitch_mm: float) -> tuple[float, float]:
    """Smallest and largest distance between frames, mm, whose blur growth is within USEFUL_BLUR_GROWTH_PX."""
    per_mm = blur_growth(1.0, f_number=f_number, m=m, pixel_pitch_mm=pixel_pitch_mm)
    return USEFUL_BLUR_GROWTH_PX[0] / per_mm, USEFUL_BLUR_GROWTH_PX[1] / per_mm


def image_centre(size_px: tuple[int, int]) -> tuple[float, float]:
    """Centre (x, y) of a picture of (H, W) pixels, with (0, 0) at the centre of the top-left pixel."""
    height, width = size_px
    return (width - 1) / 2, (height - 1) / 2


def _centres(count: int, size_px: tuple[int, int]) -> FloatArray:
    return np.tile(np.asarray(image_centre(size_px), float), (count, 1))


def heights(positions: Sequence[float] | FloatArray, *, first: str = "near") -> FloatArray:
    """Heights above the far end of the sweep from positions along the axis.

    Args:
        positions: (N,) distance travelled from the first frame, in one direction.
        first: Whether the first frame is focused "near" to or "far" from the camera.
    """
    travelled = np.abs(np.asarray(positions, float) - np.asarray(positions, float)[0])
    return travelled.max() - travelled if first == "near" else travelled


def unknown_geometry(
    positions: Sequence[float] | FloatArray,
    size_px: tuple[int, int],
    *,
    first: str = "near",
    pixel_size_mm: float | None = None,
) -> FocusGeometry:
    """The geometry of a stack whose step is not known: heights in frames.

    Args:
        positions: (N,) places of the frames in the sweep, in frames.
        size_px: (H, W).
        first: Whether the first frame is focused "near" to or "far" from the camera.
        pixel_size_mm: Size of a pixel on the subject, where it is known; else sizes are in px.
    """
    z = heights(positions, first=first)
    return FocusGeometry(
        z=z,
        pixel=np.full(len(z), pixel_size_mm or 1.0),
        centre_px=_centres(len(z), size_px),
        z_unit="frames",
        xy_unit="mm" if pixel_size_mm else "px",
    )


def stepped_geometry(
    positions_mm: Sequence[float] | FloatArray,
    size_px: tuple[int, int],
    *,
    pixel_size_mm: float | None,
    first: str = "near",
    capture: Capture = "rail",
) -> FocusGeometry:
    """One pixel size for all frames in their planes of focus: telecentric optics, and a rail with the lens locked.

    On a rail each frame's own slice in focus has the same scale although the picture as a whole changes in
    perspective.

    Args:
        positions_mm: (N,) way travelled along the axis; in a medium, times its refractive index.
        size_px: (H, W).
        pixel_size_mm: Size of a pixel on the subject; where it is not known, sizes are in px.
        first: Whether the first frame is focused "near" to or "far" from the camera.
        capture: "telecentric" or "rail".
    """
    z = heights(positions_mm, first=first)
    return FocusGeometry(
        z=z,
        pixel=np.full(len(z), pixel_size_mm or 1.0),
        centre_px=_centres(len(z), size_px),
        z_unit="mm",
        xy_unit="mm" if pixel_size_mm else "px",
        capture=capture,
    )


def ring_geometry(
    focus_distance_mm: Sequence[float] | FloatArray,
    size_px: tuple[int, int],
    *,
    focal_length_mm: float,
    pixel_pitch_mm: float | None,
) -> FocusGeometry:
    """A lens focused by its ring (unit focusing) over a fixed sensor, from lens-to-subject focus distances.

    The lens moves: the plane of focus lies T = f (m + 2 + 1/m) in front of the sensor. At m = 1 it does not move
    at all (dT/dm = f (1 - 1/m²)), which is warned of near and refused across.

    Raises:
        ValueError: distances within the focal length, or a sweep across magnification 1.
    """
    m = magnification(focal_length_mm, np.asarray(focus_distance_mm, float))
    if m.min() < 1 < m.max():
        raise ValueError(
            f"focus_distance_mm: the sweep must stay on one side of magnification 1, where the plane of focus turns "
            f"back; got magnifications {m.min():.3g} to {m.max():.3g}; shoot with a rail there"
        )
    if np.abs(m - 1).min() < 0.1:
        warnings.warn(
            f"magnification {m.flat[np.abs(m - 1).argmin()]:.3g} is close to 1, where turning the focus ring hardly "
            "moves the plane of focus: heights are uncertain",
            stacklevel=2,
        )
    sensor_to_plane_mm = focal_length_mm * (m + 2 + 1 / m)
    return FocusGeometry(
        z=sensor_to_plane_mm.max() - sensor_to_plane_mm,
        pixel=(pixel_pitch_mm or 1.0) / m,
        centre_px=_centres(len(m), size_px),
        z_unit="mm",
        xy_unit="mm" if pixel_pitch_mm else "px",
        capture="ring",
    )


def table_geometry(
    z_mm: Sequence[float] | FloatArray,
    size_px: tuple[int, int],
    *,
    pixel_mm: Sequence[float] | FloatArray | float | None = None,
    centre_px: FloatArray | None = None,
) -> FocusGeometry:
    """Measured heights (toward the camera) and, where known, pixel sizes and principal points, one row a frame."""
    z = np.asarray(z_mm, float)
    return FocusGeometry(
        z=z - z.min(),
        pixel=np.broadcast_to(np.asarray(1.0 if pixel_mm is None else pixel_mm, float), z.shape).copy(),
        centre_px=_centres(len(z), size_px) if centre_px is None else np.asarray(centre_px, float),
        z_unit="mm",
        xy_unit="px" if pixel_mm is None else "mm",
        capture="table",
    )


def interpolate(values: FloatArray, index: FloatArray) -> FloatArray:
    """Values of a per-frame table at sub-frame indices, linear between frames; NaN stays NaN.

    Args:
        values: (N, ...) one row a frame.
        index: (...) sub-frame indices from 0 to N - 1.
    """
    count = len(values)
    low = np.clip(np.nan_to_num(np.floor(index)), 0, max(count - 2, 0)).astype(np.intp)
    high = np.minimum(low + 1, count - 1)
    fraction = (index - low)[(...,) + (None,) * (np.ndim(values) - 1)]
    return values[low] * (1 - fraction) + values[high] * fraction


def height_map(index: FloatArray, geometry: FocusGeometry) -> FloatArray:
    """(H, W) float32 height in the geometry's z unit at each sub-frame index; NaN where unknown."""
    height = np.empty(index.shape, np.float32)
    rows = max(1, _BLOCK_PX // max(1, index[:1].size))
    for top in range(0, len(height), rows):
        height[top : top + rows] = interpolate(geometry.z, np.asarray(index[top : top + rows], float))
    return height
