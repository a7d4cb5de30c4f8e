"""Make the demo stack: a coin on a rock with beads and bristles, photographed on a rail in steps of 0.25 mm.

Run from the checkout: python data/make_demo.py
"""

from __future__ import annotations

from pathlib import Path

from dff import io
from dff.simulate import DEMO, render_scene

FOLDER = Path(__file__).parent / "demo"


def main() -> None:
    """Render, and write frames, table and truth."""
    scene = render_scene("demo", DEMO)
    geometry = scene.stack.geometry
    if geometry is None:
        raise ValueError("demo: a rendered scene must carry its geometry; got none; mend dff.simulate")
    names = [f"frame_{k:02d}.jpg" for k in range(len(scene.stack))]
    for k, name in enumerate(names):
        io.write_image(FOLDER / name, scene.stack.frames[k], scene.stack.metadata, quality=92)
    io.write_geometry(geometry, FOLDER / "z.csv", names)
    io.write_map(
        FOLDER / "truth" / "z.tif", scene.z, "true height z toward the camera in mm, as the middle frame sees it"
    )


if __name__ == "__main__":
    main()
