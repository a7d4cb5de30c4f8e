"""Everything that can be chosen about a rendered focal stack."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dff.simulate.aperture import Aperture
from dff.simulate.camera import Lens, Motion
from dff.simulate.sensor import Sensor, full_well

DISC_SPREAD = 0.5
"""Standard deviation of a disc of radius 1 along one axis."""


@dataclass(frozen=True)
class Recipe:
    """How a scene is built, photographed and stored. Equal recipes give equal stacks.

    Raises:
        ValueError: a value outside its range; the line names it.
    """

    # Picture
    size_px: int | tuple[int, int] = 256
    """Side of a square picture, or (H, W)."""
    seed: int = 0
    """Of shapes, textures, jitter, flicker, dust and noise."""

    # Sweep
    frames: int = 36
    blur_growth_px: float = 0.35
    """Growth of the blur's standard deviation, px a frame; sets the step."""
    step_mm: float | None = None
    """Distance between planes of focus, instead of blur_growth_px."""
    capture: str = "telecentric"
    """"telecentric"; "rail": lens locked, camera moves, so that the perspective changes; "ring": unit focusing over a
    fixed sensor, so that scale and perspective change."""
    first: str = "near"
    """Whether frame 0 is focused "near" to or "far" from the camera."""
    reference: int | None = None
    """The frame whose pixels the truth lives in; the middle one if not given."""
    jitter_z_frames: float = 0.0
    """Standard deviation of each plane of focus about the even steps, in steps."""
    jitter_px: float = 0.0
    """Standard deviation of each frame's sideways position, px."""
    tilt_deg: tuple[float, float] = (0.0, 0.0)
    """Angle between the direction of travel and the optical axis, across and down."""
    geometry: str = "true"
    """Geometry the stack carries: the "true" one, or the "nominal" one with even steps and no drift."""

    # Lens
    pixel_size_mm: float = 0.02
    """Size of a pixel on the subject."""
    magnification: float = 0.5
    f_number: float = 2.0
    focal_length_mm: float = 60.0
    aperture: str = "disc"
    """Shape of the pupil: "disc", "polygon" or "ring"."""
    blades: int = 6
    kernel_sigma_px: float = 0.75
    """Standard deviation of the blur in focus (pixel, low-pass filter, diffraction)."""
    wave: bool = False
    """Wave optics within two depths of field of the plane of focus; telecentric captures without drift only."""
    spherical_waves: float = 0.0
    """Spherical aberration W40 for wave optics, in waves."""
    axial_colour_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Focus of red, green and blue above the plane of focus, for wave optics."""

    # Subject
    contrast: float = 1.0
    """Factor on the contrast of textures."""
    gloss: float = 0.0
    """Strength of highlights that move with the viewpoint; 1 is glazed."""
    textures: str | Path | None = None
    """Folder of pictures that textures are taken from; procedural if not given."""
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Turn of a mesh about x, y and z."""

    # Light and sensor
    flicker: float = 0.0
    """Standard deviation of the brightness between frames."""
    vignetting: float = 0.0
    """Loss of light in the corners."""
    dust: int = 0
    """Specks on the sensor."""
    snr: float | None = 150
    """Signal-to-noise ratio at white; None for no noise."""
    full_well_e: float | None = None
    """Electrons at white, instead of snr."""
    read_noise_e: float = 3.0
    exposure: float = 1.0
    """Factor on the light before it is clipped at white."""
    bayer: bool = False
    """One colour a pixel, the others interpolated."""
    encoding: str = "linear"
    """Tone curve: "linear" in light, or "srgb"."""
    bits: int | None = 16
    """8 or 16 bits a channel, None for float32."""
    jpeg_quality: int | None = None
    """Write and read 8-bit frames as JPEG."""

    # Running
    sampling_px: float = 2.0
    """Distance between neighbouring rays in the largest blur, px."""
    device: str = "cpu"
    """Where tensors are computed."""

    def __post_init__(self) -> None:
        if min(self.shape) < 8:
            raise ValueError(f"size_px: must be at least 8; got {self.size_px}; give a larger picture")
        if self.geometry not in ("true", "nominal"):
            raise ValueError(f"geometry: must be true or nominal; got {self.geometry!r}; choose one of them")
        if self.step_mm is None and not self.blur_growth_px > 0:
            raise ValueError(f"blur_growth_px: must be positive; got {self.blur_growth_px}; give px a frame")
        if self.kernel_sigma_px < 0.5:
            raise ValueError(f"kernel_sigma_px: must be at least 0.5; got {self.kernel_sigma_px}; give a wider kernel")
        still = self.capture == "telecentric" and self.jitter_px == 0 and tuple(self.tilt_deg) == (0, 0)
        if self.wave and not still:
            raise ValueError(
                f"wave: needs a telecentric capture without drift; got {self.capture}, jitter_px {self.jitter_px:g}, "
                f"tilt_deg {tuple(self.tilt_deg)}; leave them out or wave off"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        if isinstance(self.size_px, int):
            return self.size_px, self.size_px
        return int(self.size_px[0]), int(self.size_px[1])

    @property
    def lens(self) -> Lens:
        """The lens at the reference frame."""
        return Lens(self.pixel_size_mm, self.magnification, self.f_number, self.focal_length_mm)

    @cached_property
    def pupil(self) -> Aperture:
        """The shape of the aperture."""
        return Aperture(self.aperture, self.blades)

    @property
    def growth_px(self) -> float:
        """Growth of the blur's standard deviation along one axis, px a frame."""
        return self.lens.blur_growth_px(self.motion.step_mm) * self.pupil.spread / DISC_SPREAD

    @property
    def motion(self) -> Motion:
        """How the focus is moved."""
        step = self.step_mm
        if step is None:
            step = self.lens.step_mm(self.blur_growth_px) * DISC_SPREAD / self.pupil.spread
        return Motion(
            self.frames,
            step,
            self.capture,
            self.first,
            self.reference,
            self.jitter_z_frames,
            self.jitter_px,
            (self.tilt_deg[0], self.tilt_deg[1]),
        )

    @property
    def sensor(self) -> Sensor:
        """The sensor and the file it writes."""
        electrons = self.full_well_e
        if electrons is None and self.snr is not None:
            electrons = full_well(self.snr, self.read_noise_e)
        return Sensor(
            electrons, self.read_noise_e, self.exposure, self.bayer, self.encoding, self.bits, self.jpeg_quality
        )

    def as_dict(self) -> dict[str, Any]:
        """What decides the pictures, as plain values for JSON, the derived step, growth and full well among them."""
        values = {key: value for key, value in asdict(self).items() if key != "device"}
        values["textures"] = None if self.textures is None else str(self.textures)
        derived = {"step_mm": self.motion.step_mm, "blur_growth_px": self.growth_px}
        return values | derived | {"full_well_e": self.sensor.full_well_e}


DEMO = Recipe(
    size_px=(480, 640),
    frames=24,
    step_mm=0.25,
    capture="rail",
    jitter_z_frames=0.05,
    jitter_px=0.3,
    gloss=1.0,
    flicker=0.01,
    vignetting=0.12,
    dust=2,
    snr=120,
    exposure=1.1,
    bayer=True,
    encoding="srgb",
    bits=8,
    aperture="polygon",
    blades=7,
    sampling_px=3.0,
)
"""How the demo's still life is photographed: a rail in steps of 0.25 mm, 0.02 mm a pixel, 12.8 mm across."""
