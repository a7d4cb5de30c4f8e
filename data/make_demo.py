"""Make the demo stack: a coin on a rock, photographed on a rail in steps of a tenth of a millimetre or so.

Run from the checkout: python data/make_demo.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dff import io
from dff.simulate import render_scene

FOLDER = Path(__file__).parent / "demo"


def main() -> None:
    """Render, and write frames, table and truth."""
    scene = render_scene(
        "demo",
        size_px=(480, 640),
        frames=24,
        seed=7,
        capture="rail",
        blur_growth_px=0.6,
        pixel_size_mm=0.012,
        jitter_px=0.6,
        flicker=0.01,
        snr=120,
        bits=8,
    )
    geometry = scene.stack.geometry
    if geometry is None:
        raise ValueError("demo: a rendered scene must carry its geometry; got none; mend dff.simulate")
    names = [f"frame_{k:02d}.jpg" for k in range(len(scene.stack))]
    for k, name in enumerate(names):
        io.write_image(FOLDER / name, np.asarray(scene.stack.frames[k]), scene.stack.metadata, quality=90)
    io.write_geometry(geometry, FOLDER / "z.csv", names)
    io.write_map(FOLDER / "truth" / "z.tif", scene.z, "true height z toward the camera in mm, in the middle frame's pixels")


if __name__ == "__main__":
    main()
