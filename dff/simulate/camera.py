"""The lens and how it is moved: planes of focus, pixel sizes, drift and pupil distance of every frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dff import optics
from dff.simulate.aperture import Aperture
from dff.stack import Alignment, FloatArray, FocusGeometry

FAR_PUPIL_MM = 1e12


@dataclass(frozen=True)
class Lens:
    """A thin lens over a sensor, at the reference frame."""

    pixel_size_mm: float = 0.02
    """Size of a pixel on the subject."""
    magnification: float = 0.5
    f_number: float = 2.0
    focal_length_mm: float = 60.0

    def __post_init__(self) -> None:
        for name in ("pixel_size_mm", "magnification", "f_number", "focal_length_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be positive; got {getattr(self, name)}; give a positive number")

    @property
    def pixel_pitch_mm(self) -> float:
        """Size of a pixel on the sensor."""
        return self.pixel_size_mm * self.magnification

    @property
    def distance_mm(self) -> float:
        """From the lens (its pupil) to the plane of focus."""
        return self.focal_length_mm * (1 + 1 / self.magnification)

    @property
    def aperture_slope(self) -> float:
        """Tangent of the half angle of the cone of light that a point sends through the pupil."""
        return self.magnification / (2 * float(optics.effective_f_number(self.f_number, self.magnification)))

    def blur_growth_px(self, step_mm: float) -> float:
        """Growth of the blur's standard deviation, px a step."""
        return optics.blur_growth(
            step_mm, f_number=self.f_number, m=self.magnification, pixel_pitch_mm=self.pixel_pitch_mm
        )

    def step_mm(self, blur_growth_px: float) -> float:
        """The step over which the blur's standard deviation grows by so many px."""
        return blur_growth_px / self.blur_growth_px(1.0)


@dataclass(frozen=True)
class Sweep:
    """Where each frame really stands: x right, y down, z toward the camera, mm."""

    plane_mm: FloatArray
    """(N,) height of the plane of focus."""
    pixel_mm: FloatArray
    """(N,) size of a pixel on it."""
    drift_mm: FloatArray
    """(N, 2) point x, y that the optical axis passes through."""
    pupil_mm: FloatArray
    """(N,) from the plane of focus to the entrance pupil."""
    aperture_slope: FloatArray
    """(N,) tangent of the half angle of the cone of light."""
    nominal: FocusGeometry
    """What the photographer believes: even steps, no drift."""
    reference: int
    size_px: tuple[int, int]

    @cached_property
    def telecentric(self) -> bool:
        """Whether every pixel sees the same bundle of directions."""
        return bool((self.pupil_mm >= FAR_PUPIL_MM).all())

    @property
    def one_scale(self) -> bool:
        """Whether all frames have one pixel size."""
        return bool(np.ptp(self.pixel_mm) < 1e-9 * self.pixel_mm[0])

    def geometry(self, which: str = "true") -> FocusGeometry:
        """Where each frame truly is in focus, drift in its principal point; or "nominal", as the user thinks."""
        if which == "nominal":
            return self.nominal
        return FocusGeometry(
            z=self.plane_mm - self.plane_mm.min(),
            pixel=self.pixel_mm,
            centre_px=self.nominal.centre_px - self.drift_mm / self.pixel_mm[:, None],
            z_unit="mm",
            xy_unit="mm",
            capture=self.nominal.capture,
        )

    def alignment(self, gains: FloatArray) -> Alignment:
        """The true alignment: each frame's slice in focus moved to where the reference frame's chief rays see it.

        Args:
            gains: (N,) brightness of the frames.
        """
        r = self.reference
        nearer = 1 - (self.plane_mm - self.plane_mm[r]) / self.pupil_mm[r]
        scale = self.pixel_mm / (self.pixel_mm[r] * nearer)
        centre = np.asarray(optics.image_centre(self.size_px))
        shift = (self.drift_mm - self.drift_mm[r]) / (self.pixel_mm[r] * nearer)[:, None]
        transforms = np.tile(np.eye(3), (len(scale), 1, 1))
        transforms[:, 0, 0] = transforms[:, 1, 1] = scale
        transforms[:, :2, 2] = centre * (1 - scale[:, None]) + shift
        return Alignment(
            transforms=transforms,
            gains=gains[r] / gains,
            residual_px=np.zeros(len(scale)),
            models=("similarity",) * len(scale),
            reference=r,
            size_px=self.size_px,
        )


@dataclass(frozen=True)
class Motion:
    """How the focus is moved, and how badly.

    Raises:
        ValueError: an unknown kind of capture, or fewer than two frames.
    """

    frames: int
    step_mm: float
    """Distance between neighbouring planes of focus."""
    capture: str = "telecentric"
    """"telecentric", "rail" (lens locked, camera moves) or "ring" (unit focusing over a fixed sensor)."""
    first: str = "near"
    """Whether frame 0 is focused nearest to or farthest from the camera."""
    reference: int | None = None
    """The frame whose pixels the truth lives in; the middle one if not given."""
    jitter_z_frames: float = 0.0
    """Standard deviation of each plane's height about the even steps, in steps."""
    jitter_px: float = 0.0
    """Standard deviation of the sideways position of each frame, px."""
    tilt_deg: tuple[float, float] = (0.0, 0.0)
    """Angle between the direction of travel and the optical axis, across and down."""

    def __post_init__(self) -> None:
        if self.capture not in ("telecentric", "rail", "ring"):
            raise ValueError(f"capture: must be telecentric, rail or ring; got {self.capture!r}; choose one of them")
        if self.first not in ("near", "far"):
            raise ValueError(f"first: must be near or far; got {self.first!r}; choose one of them")
        if self.frames < 2:
            raise ValueError(f"frames: must be at least 2; got {self.frames}; give more frames")
        if not self.step_mm > 0:
            raise ValueError(f"step_mm: must be positive; got {self.step_mm}; give a step or a blur growth")
        if self.reference is not None and not 0 <= self.reference < self.frames:
            raise ValueError(f"reference: must be 0 to {self.frames - 1}; got {self.reference}; choose a frame")


def sweep(lens: Lens, motion: Motion, size_px: tuple[int, int], random: np.random.Generator) -> Sweep:
    """Where the frames of a capture of (H, W) pixels really stand; `random` is the source of the jitter."""
    count = motion.frames
    reference = count // 2 if motion.reference is None else motion.reference
    nominal = _nominal(lens, motion, size_px, reference)
    jitter = motion.jitter_z_frames * random.standard_normal(count)
    z = np.asarray(nominal.z) + np.clip(jitter, -0.45, 0.45) * motion.step_mm
    drift = random.normal(size=(count, 2)) * motion.jitter_px * lens.pixel_size_mm
    drift += (z - z[reference])[:, None] * np.tan(np.radians(motion.tilt_deg))
    drift -= drift[reference]
    pixel, pupil = np.full(count, lens.pixel_size_mm), np.full(count, lens.distance_mm)
    if motion.capture == "telecentric":
        pupil = np.full(count, FAR_PUPIL_MM)
    elif motion.capture == "ring":
        pixel, pupil = _ring(lens, z, z[reference])
    wide = lens.distance_mm / pupil if motion.capture == "ring" else np.ones(count)
    return Sweep(z, pixel, drift, pupil, wide * lens.aperture_slope, nominal, reference, size_px)


def _nominal(lens: Lens, motion: Motion, size_px: tuple[int, int], reference: int) -> FocusGeometry:
    if motion.capture == "ring":
        z = optics.heights(np.arange(motion.frames) * motion.step_mm, first=motion.first)
        _, distance = _ring(lens, z, z[reference])
        return optics.ring_geometry(
            distance, size_px, focal_length_mm=lens.focal_length_mm, pixel_pitch_mm=lens.pixel_pitch_mm
        )
    return optics.stepped_geometry(
        np.arange(motion.frames) * motion.step_mm,
        size_px,
        pixel_size_mm=lens.pixel_size_mm,
        first=motion.first,
        capture=motion.capture,  # type: ignore[arg-type]
    )


def _ring(lens: Lens, z: FloatArray, reference_z: float) -> tuple[FloatArray, FloatArray]:
    """Pixel sizes and lens-to-plane distances of a unit-focusing lens whose planes of focus lie at heights z.

    The sensor stands T = f (m + 2 + 1/m) from the plane of focus; m solves this quadratic on the reference's side.
    """
    f, m = lens.focal_length_mm, lens.magnification
    if m == 1:
        raise ValueError(
            "magnification: must not be 1 for a ring, where the plane of focus turns back; got 1; use rail"
        )
    total = f * (m + 2 + 1 / m) - (z - reference_z)
    half = (total / f - 2) / 2
    if (half <= 1).any():
        raise ValueError(
            f"magnification: the ring's sweep must stay on one side of 1; got {m:g} and a sweep of {np.ptp(z):.3g} mm; "
            "use fewer or smaller steps, or a rail"
        )
    each = half - np.sqrt(half**2 - 1) if m < 1 else half + np.sqrt(half**2 - 1)
    return lens.pixel_pitch_mm / each, f * (1 + 1 / each)


def transmission(
    sweep: Sweep, aperture: Aperture, k: int, x: Tensor, y: Tensor, slope_x: float, slope_y: float, softness: float
) -> Tensor:
    """Share of the light along a slope that passes frame k's pupil, at points x, y off its axis on its plane."""
    distance, radius = float(sweep.pupil_mm[k]), float(sweep.aperture_slope[k])
    across, down = torch.broadcast_tensors((x / distance + slope_x) / radius, (y / distance + slope_y) / radius)
    return aperture.transmission(torch.stack([across, down], dim=-1), softness)
