"""A result in another format, from what its folder holds."""

from __future__ import annotations

from pathlib import Path

from dff import io, surface
from dff.settings import Settings

KINDS = {
    ".ply": ("points", "mesh"),
    ".xyz": ("points",),
    ".obj": ("mesh",),
    ".glb": ("mesh",),
    ".stl": ("mesh",),
    ".npy": ("grid",),
}
"""What a file of each ending can hold, the usual first."""


def convert_result(
    folder: str | Path,
    output: str | Path,
    settings: Settings | None = None,
    *,
    kind: str | None = None,
    force: bool = False,
) -> Path:
    """Write the surface of a result in another format, or selected otherwise.

    Args:
        folder: Result folder.
        output: File to write: .ply, .xyz, .obj, .glb, .stl, or .npy for the (H, W, 3) float32 coordinates of every
            pixel, NaN where unknown.
        settings: Selection and size of the surface; those of the result by default.
        kind: "points" or "mesh" where the ending leaves the choice.
        force: Replace an existing file.

    Raises:
        ValueError: an ending or kind that cannot be written, or a result without a trustworthy pixel.
        OSError: no result there, the file exists or cannot be written.
    """
    path = Path(output)
    kind = _kind(path, kind)
    if path.exists() and not force:
        raise FileExistsError(f"{path}: must not exist; got a file or folder; choose another name or use --force")
    result = io.read_reconstruction(folder)
    chosen = settings or result.settings
    shown = surface.select_surface(
        result.depth,
        min_confidence=chosen.min_confidence,
        outlier_sigma=chosen.outlier_sigma,
        cut_frames=chosen.cut_frames,
    )
    if not shown.known.any():
        raise ValueError(
            f"{folder}: must have pixels of confidence {chosen.min_confidence:g}; got none; lower --min-confidence"
        )
    if kind == "grid":
        io.write_grid(path, surface.back_project(shown.index, result.geometry, result.alignment))
        return path
    parts = (shown, result.geometry, result.alignment, result.all_in_focus)
    if kind == "points":
        pixels = surface.thinned(shown.known, chosen.max_points)
        io.write_points(path, surface.point_blocks(*parts, chosen=pixels, cut_frames=chosen.cut_frames))
    else:
        mesh = surface.grid_mesh(*parts, cut_frames=chosen.cut_frames, max_faces=chosen.max_faces)
        io.write_mesh(path, mesh, result.all_in_focus)
    return path


def _kind(path: Path, kind: str | None) -> str:
    kinds = KINDS.get(path.suffix.lower())
    if kinds is None:
        raise ValueError(f"{path}: must end in {', '.join(KINDS)}; got {path.suffix or 'no ending'!r}; rename it")
    if kind is not None and kind not in kinds:
        raise ValueError(f"--as: a {path.suffix} file holds {' or '.join(kinds)}; got {kind}; choose another ending")
    return kind or kinds[0]
