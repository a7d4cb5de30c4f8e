"""What a stack can measure: noise, texture and growth of the blur from the frames themselves, and what follows.

Everything is read from the power spectra of small tiles in every frame. Far from focus a tile shows the noise, at
its sharpest frame its texture, and the width of its focus curve in two bands of frequency tells how fast the blur
grows: width² = 1 / (8 π² a² f²) + relief², where only the first term depends on the frequency.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import optics
from dff.stack import LUMINANCE, FloatArray, FocalStack, FocusGeometry

TILE_PX = 64
MOST_TILES = 1200
MOST_FRAMES = 64
BAND_EDGES = (0.05, 0.07, 0.09, 0.115, 0.15, 0.195, 0.25)
"""Edges of the bands, cycles per px: below is shading, above is what demosaicking and JPEG leave of the noise."""
TEXTURED_LIMIT_FRAMES = 1.0
"""A tile whose limit is worse has no texture to measure depth by."""
_FLOOR_SHARE = 0.2
_LEAST_CURVES = 12


@dataclass(frozen=True)
class Assessment:
    """What frames and optics allow. Intensities have white at one; NaN is unknown."""

    noise: float
    """Standard deviation of the noise of one frame."""
    contrast: float
    """Standard deviation of the in-focus texture: median over the textured part of the picture."""
    texture_frequency: float
    """Mean frequency of the texture, cycles per px."""
    textured_percent: float
    """Share of the picture with enough texture to find a frame."""
    blur_growth_px: float
    """Growth of the blur's standard deviation a frame, measured on the focus curves."""
    nominal_growth_px: float
    """The same from f-number, magnification and step."""
    limit_frames: float
    """Least standard deviation of the index where texture is typical."""
    weak_limit_frames: float
    """The same in the weakest fifth of the textured part."""
    window_sigma_px: float
    step: float
    """Mean distance between frames."""
    step_unit: str
    """"mm" or "frames"."""

    @property
    def growth_px(self) -> float:
        """The growth of the blur to go by: measured, else nominal."""
        return self.blur_growth_px if math.isfinite(self.blur_growth_px) else self.nominal_growth_px

    @property
    def step_verdict(self) -> str:
        """ "too coarse", "finer than needed", "well chosen" or "unknown"."""
        low, high = optics.USEFUL_BLUR_GROWTH_PX
        if not math.isfinite(self.growth_px):
            return "unknown"
        if self.growth_px > high:
            return "too coarse"
        return "finer than needed" if self.growth_px < low else "well chosen"

    @property
    def useful_steps(self) -> tuple[float, float]:
        """Smallest and largest step that waste no frames and lose no precision, in the step's unit."""
        low, high = (limit / self.growth_px * self.step for limit in optics.USEFUL_BLUR_GROWTH_PX)
        return low, high


def assess(
    stack: FocalStack,
    geometry: FocusGeometry,
    *,
    f_number: float | None = None,
    pixel_pitch_mm: float | None = None,
    window_sigma_px: float = 3.0,
) -> Assessment:
    """Measure noise, texture and growth of the blur on the frames, and the precision that they allow.

    Args:
        stack: The frames; they need not be aligned.
        geometry: Its z gives the step.
        f_number: Marked f-number; by default the files' own.
        pixel_pitch_mm: Size of a sensor pixel; by default the files' own.
        window_sigma_px: Standard deviation of the window the limit is for.
    """
    spectra = TileSpectra.of(stack)
    noise = math.sqrt(spectra.floor)
    signal = np.maximum(spectra.power - spectra.floor, 0)
    sharpest = (signal * spectra.weight * spectra.frequency).sum(2).argmax(0)
    texture = np.take_along_axis(signal * spectra.weight, sharpest[None, :, None], axis=0)[0]
    variance = texture.sum(1)
    frequency = (texture * spectra.frequency).sum(1) / np.maximum(variance, 1e-20)
    nominal = nominal_growth(stack, geometry, f_number=f_number, pixel_pitch_mm=pixel_pitch_mm)
    growth = spectra.blur_growth(signal, sharpest) / spectra.every
    limit = _limits(noise, variance, frequency, growth if math.isfinite(growth) else nominal, window_sigma_px)
    textured = limit < TEXTURED_LIMIT_FRAMES
    return Assessment(
        noise=noise,
        contrast=_percentile(np.sqrt(variance), textured),
        texture_frequency=_percentile(frequency, textured),
        textured_percent=100 * float(textured.mean()) if np.isfinite(limit).any() else math.nan,
        blur_growth_px=growth,
        nominal_growth_px=nominal,
        limit_frames=_percentile(limit, textured),
        weak_limit_frames=_percentile(limit, textured, 80),
        window_sigma_px=window_sigma_px,
        step=float(np.abs(np.diff(geometry.z)).mean()),
        step_unit=geometry.z_unit,
    )


def _percentile(values: FloatArray, chosen: NDArray[np.bool_], share: float = 50) -> float:
    return float(np.percentile(values[chosen], share)) if chosen.any() else math.nan


def _limits(
    noise: float, variance: FloatArray, frequency: FloatArray, growth_px: float, window_sigma_px: float
) -> FloatArray:
    if not math.isfinite(growth_px):
        return np.full(variance.shape, np.nan)
    return np.asarray(
        optics.focus_limit(
            noise,
            texture_variance=variance,
            texture_frequency=frequency,
            blur_growth_px=growth_px,
            window_sigma_px=window_sigma_px,
        )
    )


def nominal_growth(
    stack: FocalStack, geometry: FocusGeometry, *, f_number: float | None = None, pixel_pitch_mm: float | None = None
) -> float:
    """Growth of the blur per frame from the optics, px; NaN where step, scale, pixel pitch or f-number are unknown."""
    number, pitch_mm = f_number or stack.metadata.f_number, pixel_pitch_mm or stack.metadata.pixel_pitch_mm
    if not geometry.metric or number is None or pitch_mm is None:
        return math.nan
    step_mm = float(np.abs(np.diff(geometry.z)).mean())
    m = pitch_mm / float(np.median(geometry.pixel))
    return optics.blur_growth(step_mm, f_number=number, m=m, pixel_pitch_mm=pitch_mm)


@dataclass(frozen=True)
class TileSpectra:
    """Power of tiles in bands of frequency, frame by frame."""

    power: FloatArray
    """(N, T, B) mean power per Fourier coefficient, as the variance of white noise of that density."""
    weight: FloatArray
    """(B,) share of all coefficients that lie in a band."""
    frequency: FloatArray
    """(B,) mean frequency of a band's coefficients, cycles per px."""
    square: FloatArray
    """(B,) square frequency that a texture's power, falling with the square of the frequency, has on average."""
    every: int
    """Distance between the frames used."""

    @classmethod
    def of(cls, stack: FocalStack) -> TileSpectra:
        """Spectra of tiles spread over the picture, in at most MOST_FRAMES frames."""
        every = -(-len(stack) // MOST_FRAMES)
        corners = _tile_corners(stack.shape[0], stack.shape[1])
        radius = np.hypot(np.fft.fftfreq(TILE_PX)[:, None], np.fft.fftfreq(TILE_PX))
        bands = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(BAND_EDGES)]
        power = [
            _band_power(luminance(stack.frames[k], stack.white), corners, bands) for k in range(0, len(stack), every)
        ]
        return cls(
            power=np.stack(power),
            weight=np.array([band.mean() for band in bands]),
            frequency=np.array([radius[band].mean() for band in bands]),
            square=np.array([1 / (radius[band] ** -2.0).mean() for band in bands]),
            every=every,
        )

    @property
    def floor(self) -> float:
        """Density of the noise in the highest band: what a fifth of all tiles and frames does not exceed.

        Densities of pure noise scatter around their mean by the number of coefficients that are averaged; the
        fifth's place in that scatter is undone. In lower bands the blur of a short sweep leaves texture everywhere.
        """
        coefficients = float(self.weight[-1]) * TILE_PX**2 * _HANN_DENSITY
        low = float(np.quantile(self.power[..., -1], _FLOOR_SHARE))
        return low / (1 - 0.84 * math.sqrt(2 / coefficients))

    def blur_growth(self, signal: FloatArray, sharpest: NDArray[np.intp]) -> float:
        """Growth of the blur's standard deviation from one used frame to the next, px; NaN without clear curves.

        Args:
            signal: (N, T, B) power above the noise.
            sharpest: (T,) frame in which each tile is sharpest.
        """
        count = signal.shape[-1]
        widths = np.stack([_curve_width(signal[..., b], sharpest, self.floor) for b in range(count)], axis=1)
        pairs = [(low, high) for high in range(count) for low in range(high - 1)]
        growth = []
        for low, high in pairs:
            lever = 1 / self.square[low] - 1 / self.square[high]
            slope = (widths[:, low] - widths[:, high]) / lever
            known = slope[np.isfinite(slope)]
            if known.size >= _LEAST_CURVES and (middle := float(np.median(known))) > 0:
                growth.append((known.size, 1 / (math.pi * math.sqrt(8 * middle))))
        return float(np.average([a for _, a in growth], weights=[n for n, _ in growth])) if growth else math.nan


_HANN = np.hanning(TILE_PX + 2)[1:-1]
_HANN_SQUARE_MEAN = float(np.mean(_HANN**2) ** 2)
_HANN_DENSITY = float(np.mean(_HANN**2) ** 2 / np.mean(_HANN**4)) ** 2
"""Independent coefficients per coefficient of a windowed tile."""


def luminance(frame: NDArray[Any], white: float) -> FloatArray:
    """(H, W) float32 luminance of a frame with white at one."""
    if frame.shape[-1] == 1:
        return frame[..., 0] / np.float32(white)
    return frame[..., :3] @ (np.array(LUMINANCE, np.float32) / np.float32(white))


def _tile_corners(height: int, width: int) -> NDArray[np.intp]:
    """(T, 2) top-left corners of at most MOST_TILES tiles on a regular grid."""
    stride = max(TILE_PX // 2, math.ceil(math.sqrt(height * width / MOST_TILES)))
    rows = np.arange(0, max(height - TILE_PX, 0) + 1, stride)
    columns = np.arange(0, max(width - TILE_PX, 0) + 1, stride)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _band_power(plane: FloatArray, corners: NDArray[np.intp], bands: list[NDArray[np.bool_]]) -> FloatArray:
    """(T, B) mean power per coefficient of each tile, without its mean and slope of brightness."""
    padded = np.pad(plane, [(0, max(0, TILE_PX - side)) for side in plane.shape], mode="reflect")
    tiles = np.stack([padded[top : top + TILE_PX, left : left + TILE_PX] for top, left in corners])
    tiles = tiles - tiles.mean((1, 2), keepdims=True)
    spectrum = np.abs(np.fft.fft2(tiles * np.outer(_HANN, _HANN))) ** 2
    return np.stack([spectrum[:, band].mean(1) for band in bands], axis=1) / (TILE_PX**2 * _HANN_SQUARE_MEAN)


def _curve_width(curve: FloatArray, sharpest: NDArray[np.intp], floor: float) -> FloatArray:
    """(T,) squared width of each tile's focus curve in frames, from a parabola through its logarithm; NaN if unclear.

    Args:
        curve: (N, T) power above the noise.
        sharpest: (T,) frame of the peak.
        floor: Power of the noise.
    """
    peak = np.take_along_axis(curve, sharpest[None], axis=0)[0]
    used = curve > np.maximum(0.02 * peak, 2 * floor)
    t = np.arange(len(curve))[:, None] - sharpest
    used &= np.abs(t) <= _run_length(used, sharpest)
    weight = np.where(used, curve / np.maximum(peak, 1e-30), 0)
    logarithm = np.log(np.maximum(curve, 1e-30) / np.maximum(peak, 1e-30))
    moments = [(weight * t**power).sum(0) for power in range(5)]
    sides = [(weight * t**power * logarithm).sum(0) for power in range(3)]
    normal = np.stack([np.stack([moments[i + j] for j in range(3)], -1) for i in range(3)], -2)
    clear = (used.sum(0) >= 3) & (peak > 8 * floor) & (sharpest > 1) & (sharpest < len(curve) - 2)
    width = np.full(len(peak), np.nan)
    if clear.any():
        answer = np.linalg.solve(normal[clear] + 1e-12 * np.eye(3), np.stack(sides, -1)[clear][..., None])[..., 0]
        with np.errstate(divide="ignore"):
            width[clear] = np.where(answer[:, 2] < 0, -1 / (2 * answer[:, 2]), np.nan)
    return width


def _run_length(used: NDArray[np.bool_], sharpest: NDArray[np.intp]) -> NDArray[np.intp]:
    """(T,) number of frames on either side of the peak over which all frames are used on that side or the other."""
    count = len(used)
    result = np.zeros(used.shape[1], np.intp)
    going = np.ones(used.shape[1], bool)
    tiles = np.arange(used.shape[1])
    for reach in range(1, count):
        after, before = sharpest + reach, sharpest - reach
        here = (after < count) & used[np.minimum(after, count - 1), tiles]
        here |= (before >= 0) & used[np.maximum(before, 0), tiles]
        going &= here
        result += going
    return result


def advice(found: Assessment) -> str:
    """The assessment in words, a line each."""
    lines = [f"noise      {100 * found.noise:.2g} % of white in one frame"]
    if math.isfinite(found.contrast):
        lines.append(
            f"texture    contrast {100 * found.contrast:.2g} % at {found.texture_frequency:.2g} cycles/px, on "
            f"{found.textured_percent:.0f} % of the picture"
        )
    lines.append("blur       " + _growth(found))
    if math.isfinite(found.limit_frames):
        lines.append(
            f"limit      {_length(found.limit_frames, found)} where texture is typical, "
            f"{_length(found.weak_limit_frames, found)} where it is weak (window {found.window_sigma_px:g} px): "
            "no method can be more precise"
        )
    lines.append("step       " + step_advice(found))
    return "\n".join(lines)


def _growth(found: Assessment) -> str:
    ways = ((found.blur_growth_px, "on the focus curves"), (found.nominal_growth_px, "by f-number and scale"))
    told = [f"{value:.2g} px a frame {how}" for value, how in ways if math.isfinite(value)]
    if not told:
        return "growth unknown: too little texture, or each place is sharp in one frame only"
    return f"grows by {', '.join(told)}"


def _length(frames: float, found: Assessment) -> str:
    if found.step_unit != "mm":
        return f"{frames:.2g} frames"
    return f"{frames:.2g} frames = {1000 * frames * found.step:.2g} µm"


def step_advice(found: Assessment) -> str:
    """Whether the step is too coarse or wastefully fine, and which would do."""
    verdict = found.step_verdict
    if verdict == "unknown":
        return "unknown: give --f-number, --step and --magnification, or a subject with texture"
    low, high = found.useful_steps
    unit = "mm" if found.step_unit == "mm" else "times this step"
    range_text = f"{low:.2g} to {high:.2g} {unit} would waste no frames and lose no precision"
    if verdict == "finer than needed":
        every = max(2, math.floor(0.5 / found.growth_px))
        return (
            f"finer than needed: --every {every} would lose no precision that the same light could give; {range_text}"
        )
    return f"{verdict}: {range_text}"
