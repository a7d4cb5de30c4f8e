"""Every option of a reconstruction, once: type, default, unit, help text and choices.

The command line and the Python API both read this module, so that they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

VERSION = "0.1.0"
OPERATORS = (
    "ring-difference",
    "sum-modified-laplacian",
    "tenengrad",
    "grey-level-variance",
    "directional-dilated-laplacian",
    "spatial-frequency",
    "laplacian-pyramid",
)
"""Focus measures that are no networks."""


def option(
    default: Any,
    help_text: str,
    *,
    group: str,
    choices: tuple[str, ...] = (),
    flag: str | None = None,
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A dataclass field that carries its own help text, choices, bounds and command-line flag."""
    return field(
        default=default,
        metadata={
            "help": help_text,
            "group": group,
            "choices": choices,
            "flag": flag,
            "unit": unit,
            "minimum": minimum,
            "above": above,
            "maximum": maximum,
        },
    )


@dataclass(frozen=True)
class Settings:
    """What a user can choose for one reconstruction.

    Raises:
        ValueError: a value is not among its choices or outside its bounds; the line names the option.
    """

    preset: str | None = option(
        None,
        "options that suit a kind of subject; those given beside it stand",
        group="preset",
        choices=("macro", "landscape", "portrait"),
    )

    # Frames
    order: str = option(
        "name",
        "order of the frames along z: as named, or found from their content",
        group="frames",
        choices=("name", "auto"),
    )
    first: str = option(
        "near",
        "whether the first frame is focused nearest to the camera or farthest from it",
        group="frames",
        choices=("near", "far"),
    )
    every: int = option(1, "use every n-th frame only", group="frames", minimum=1)
    skip_bad: bool = option(False, "leave out frames that cannot be used instead of stopping", group="frames")

    # Geometry
    capture: str = option(
        "auto",
        "how the focus was moved: auto picks rail with --step, table with --z-file",
        group="geometry",
        choices=("auto", "telecentric", "rail", "ring", "table"),
    )
    step_mm: float | None = option(
        None, "distance between neighbouring planes of focus", group="geometry", flag="--step", unit="mm", above=0
    )
    z_file: str | None = option(
        None,
        "CSV table with one row a frame: z_mm or focus_distance_mm, and optionally pixel_mm or magnification",
        group="geometry",
    )
    pixel_size_mm: float | None = option(
        None, "size of a pixel on the subject", group="geometry", flag="--pixel-size", unit="mm", above=0
    )
    magnification: float | None = option(
        None, "image size over subject size in the plane of focus", group="geometry", above=0
    )
    pixel_pitch_mm: float | None = option(
        None, "size of a pixel on the sensor", group="geometry", flag="--pixel-pitch", unit="mm", above=0
    )
    focal_length_mm: float | None = option(
        None, "focal length, for --capture ring", group="geometry", flag="--focal-length", unit="mm", above=0
    )
    medium_index: float = option(
        1.0, "refractive index of the medium around the subject", group="geometry", minimum=1.0, maximum=4.0
    )

    # Alignment
    align: str = option(
        "similarity",
        "motion that is undone between frames",
        group="alignment",
        choices=("none", "translation", "similarity", "affine", "homography"),
    )
    alignment: str | None = option(
        None, "apply the alignment.json of an earlier result instead of estimating one", group="alignment"
    )
    max_shift: float = option(
        0.1, "largest shift between neighbours, as a share of the longer side", group="alignment", above=0, maximum=0.5
    )
    max_scale: float = option(
        0.08, "largest change of scale between neighbours", group="alignment", above=0, maximum=0.3
    )
    max_rotation_deg: float = option(
        3.0, "largest rotation between neighbours", group="alignment", flag="--max-rotation", unit="deg", above=0
    )
    brightness: str = option(
        "gain",
        "brightness between frames: matched on low-pass luminance, or left alone",
        group="alignment",
        choices=("gain", "none"),
    )

    # Depth
    measure: str = option("sesf-stack", "focus measure, a network or an operator: see `dff measures`", group="depth")
    refit: str = option(
        "ring-difference",
        "operator that measures depth to a fraction of a frame where a network decides the frame",
        group="depth",
        choices=OPERATORS,
    )
    network_scale: int = option(
        1,
        "size of the frames that sesf-stack decides on: 1 as they are; 2 half of it, a quarter of the work, for frames "
        "that are soft or noisy at the size of a pixel: thin hairs are lost",
        group="depth",
        minimum=1,
        maximum=2,
    )
    window_sigma_px: float = option(
        2.5,
        "standard deviation of the window that depth is averaged over",
        group="depth",
        flag="--window",
        unit="px",
        minimum=0.5,
        maximum=20,
    )
    z_sigma_frames: float | None = option(
        None,
        "standard deviation of the filter along the stack; 0 is off, by default the alignment residual decides",
        group="depth",
        flag="--z-sigma",
        unit="frames",
        minimum=0,
        maximum=4,
    )
    depth_method: str = option(
        "regularised",
        "how a frame is chosen: sharpest frame, its sub-frame peak, or the smoothed label refitted to sub-frame",
        group="depth",
        flag="--depth",
        choices=("argmax", "subframe", "regularised"),
    )
    smoothness: float = option(
        1.0, "weight of the smoothness of the label, 1 is the calibrated value", group="depth", minimum=0, maximum=10
    )
    refit_radius: int = option(
        2,
        "frames on either side of the label that the sub-frame fit uses",
        group="depth",
        unit="frames",
        minimum=1,
        maximum=10,
    )

    # Networks
    weights: str | None = option(
        None, "weight file of the network, instead of the one that comes with the package", group="network"
    )
    precision: str = option(
        "float32",
        "precision of a network's convolutions; the halves take less memory and, on most GPUs, less time",
        group="network",
        choices=("float32", "float16", "bfloat16"),
    )
    dilation: int = option(
        1,
        "spread of DRPL's later layers: 1 sees 67 px around, 2, 3 and 4 see 91, 115 and 139 px",
        group="network",
        minimum=1,
        maximum=4,
    )

    # All-in-focus picture
    fusion: str = option(
        "unveiled",
        "how frames become one picture: mean weighted by sharpness, sub-frame pick, Laplacian-pyramid blend, or that "
        "with the blur of nearer surfaces taken off farther ones; without depth, as in `dff fuse`, a plain blend",
        group="picture",
        choices=("weighted", "pick", "pyramid", "unveiled"),
    )
    soft_skin: bool = option(
        False, "feather the transitions between frames on smooth skin; `dff fuse` only", group="picture"
    )
    jpeg_quality: int = option(95, "quality of a JPEG all-in-focus picture", group="picture", minimum=1, maximum=100)
    slabs: str | None = option(
        None,
        "write sharp pictures of slabs of frames too, for retouching: frames of a slab / frames shared, such as 10/3",
        group="picture",
    )

    # Surface
    formats: str = option("ply", "surface files to write, comma separated: ply, obj, glb, stl, xyz", group="surface")
    min_confidence: float = option(
        0.6, "points of less confidence are left out of clouds and meshes", group="surface", minimum=0, maximum=1
    )
    cut_frames: float = option(
        3.0,
        "a mesh is cut where neighbouring pixels differ by more than this depth",
        group="surface",
        flag="--cut",
        unit="frames",
        above=0,
    )
    outlier_sigma: float = option(
        3.0,
        "points farther than this many standard deviations from their neighbours are removed; 0 keeps all",
        group="surface",
        flag="--outliers",
        minimum=0,
    )
    max_points: int = option(
        4_000_000, "largest number of points in the cloud; 0 keeps every pixel", group="surface", minimum=0
    )
    max_faces: int = option(
        2_000_000, "largest number of triangles in the mesh; 0 keeps all", group="surface", minimum=0
    )

    # Running
    device: str = option("cpu", "where tensors are computed: cpu, cuda, mps", group="running")
    threads: int = option(0, "processor threads; 0 uses all", group="running", minimum=0)
    max_memory_gb: float = option(
        2.5, "memory the run may take", group="running", flag="--max-memory", unit="GB", minimum=0.5
    )
    scratch: str | None = option(None, "folder for scratch files; the default is the output's own", group="running")

    def __post_init__(self) -> None:
        for spec in fields(self):
            check_option(spec.name, getattr(self, spec.name), spec.metadata)
        unknown = [name for name in self.surface_formats if name not in SURFACE_FORMATS]
        if unknown or not self.surface_formats:
            raise ValueError(
                f"--formats: must name {', '.join(SURFACE_FORMATS)}; got {self.formats!r}; separate names by commas"
            )

        if self.slabs is not None:
            self._check_slabs()

    def _check_slabs(self) -> None:
        size, _, overlap = str(self.slabs).partition("/")
        if not (size.isdecimal() and overlap.isdecimal() and int(size) >= 2 and int(overlap) < int(size)):
            raise ValueError(
                f"--slabs: must be frames of a slab / frames shared, fewer; got {self.slabs!r}; give for example 10/3"
            )

    @property
    def slab_frames(self) -> tuple[int, int] | None:
        """Frames of a slab, and frames that neighbours share; None without slabs."""
        if self.slabs is None:
            return None
        size, _, overlap = self.slabs.partition("/")
        return int(size), int(overlap)

    @classmethod
    def of(cls, preset: str | None = None, **given: Any) -> Settings:
        """The settings of a preset, or the default ones, with some values given.

        Raises:
            ValueError: an unknown preset, or a value that cannot be used.
        """
        if preset is None:
            return cls(**given)
        if preset not in PRESETS:
            raise ValueError(f"--preset: must be one of {', '.join(PRESETS)}; got {preset!r}; choose one of them")
        return cls(**{**PRESETS[preset].values, "preset": preset, **given})

    @property
    def surface_formats(self) -> tuple[str, ...]:
        """Names of the surface files to write."""
        return tuple(name.strip().lower() for name in self.formats.split(",") if name.strip())

    def but(self, **changes: Any) -> Settings:
        """These settings with some values changed."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Change:
    """What a preset changes, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Preset:
    """Options that suit a kind of subject."""

    summary: str
    model: str
    """What `dff fuse` decides with unless told otherwise."""
    model_reason: str
    changes: Mapping[str, Change]
    """By name of the option."""

    @property
    def values(self) -> dict[str, Any]:
        """The changed options."""
        return {name: change.value for name, change in self.changes.items()}


FUSION_MODEL = "sesf-stack"
"""What `dff fuse` decides with unless told otherwise."""

_FAR_APART = "frames are far apart: filtering along the stack would mix sharp and blurred"

PRESETS = {
    "macro": Preset(
        "many frames of something small, magnified: hairs, edges over deep background, wide blur",
        model="sesf-stack",
        model_reason="it alone follows hairs: the pictures in docs/networks.md show what others lose",
        changes={
            "max_scale": Change(0.12, "near life size, focusing by the ring changes the scale of a frame most"),
        },
    ),
    "landscape": Preset(
        "three to ten frames from the foreground to infinity, by the focus ring, sometimes without a tripod",
        model="sesf-stack",
        model_reason="first of all where frames are few and leaves have moved",
        changes={
            "align": Change("homography", "without a tripod the camera turns, which a similarity cannot undo"),
            "z_sigma_frames": Change(0.0, _FAR_APART),
            "window_sigma_px": Change(4.0, "leaves move between frames: a wider window forgives it"),
        },
    ),
    "portrait": Preset(
        "two to five frames of a face: little texture on skin, and whatever moved",
        model="ring-difference",
        model_reason="over a wide window a plain operator does better on skin than the networks",
        changes={
            "window_sigma_px": Change(5.0, "skin has little texture: more of it has to be averaged"),
            "soft_skin": Change(True, "a sharp seam between two frames on a cheek is seen at once"),
            "z_sigma_frames": Change(0.0, _FAR_APART),
        },
    ),
}
"""Presets by name. Their models select and blend: generated pixels suit none of them."""

SURFACE_FORMATS = ("ply", "obj", "glb", "stl", "xyz")


def flag_of(name: str, metadata: Any) -> str:
    """Command-line flag of an option."""
    return metadata["flag"] or "--" + name.replace("_", "-")


def check_option(name: str, value: Any, metadata: Any) -> None:
    """Refuse a value outside an option's choices or bounds.

    Raises:
        ValueError: naming the flag, the rule and what was given.
    """
    flag = flag_of(name, metadata)
    if value is None:
        return
    choices = metadata["choices"]
    if choices and value not in choices:
        raise ValueError(f"{flag}: must be one of {', '.join(choices)}; got {value!r}; choose one of them")
    low, above, high = metadata["minimum"], metadata["above"], metadata["maximum"]
    unit = f" {metadata['unit']}" if metadata["unit"] else ""
    if isinstance(value, (int, float)) and value != value:
        raise ValueError(f"{flag}: must be a number; got NaN; give a number")
    if low is not None and value < low:
        raise ValueError(f"{flag}: must be at least {low}{unit}; got {value}; give a larger value")
    if above is not None and value <= above:
        raise ValueError(f"{flag}: must be more than {above}{unit}; got {value}; give a larger value")
    if high is not None and value > high:
        raise ValueError(f"{flag}: must be at most {high}{unit}; got {value}; give a smaller value")


DEFAULTS = Settings()
