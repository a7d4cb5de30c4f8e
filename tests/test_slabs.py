"""Sharp pictures of slabs of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dff import io, pipeline
from dff.pipeline.slabs import slab_spans
from dff.settings import Settings
from dff.simulate import render_scene


@pytest.mark.parametrize(
    ("count", "size", "overlap", "spans"),
    [
        (24, 10, 3, [(0, 10), (7, 17), (14, 24)]),
        (20, 10, 3, [(0, 10), (5, 15), (10, 20)]),
        (10, 10, 3, [(0, 10)]),
        (4, 10, 3, [(0, 4)]),
        (5, 2, 0, [(0, 2), (1, 3), (3, 5)]),
    ],
)
def test_slabs_cover_the_stack(count: int, size: int, overlap: int, spans: list[tuple[int, int]]) -> None:
    """Every frame is in one, neighbours share at least the overlap, and each is whole."""
    assert slab_spans(count, size, overlap) == spans


@pytest.mark.parametrize("text", ["10", "3/10", "1/0", "ten/3", "10/10", "/"])
def test_slabs_that_make_no_sense_are_refused(text: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=r"--slabs: must be frames of a slab / frames shared.*give for example 10/3"):
        Settings(slabs=text)


def test_a_slab_is_sharp_where_its_frames_are(tmp_path: Path) -> None:
    """On a tilted plane each slab shows its own band sharp; depth and picture are those without slabs."""
    scene = render_scene("plane", size_px=96, frames=12, blur_growth_px=1.0, snr=None)
    settings = Settings(align="none", threads=1, slabs="5/2")
    result = pipeline.reconstruct_to_folder(scene.stack, tmp_path / "result", settings)
    plain = pipeline.reconstruct(scene.stack, settings.but(slabs=None))
    np.testing.assert_array_equal(result.depth.index, plain.depth.index)
    np.testing.assert_array_equal(result.all_in_focus, plain.all_in_focus)
    paths = sorted((tmp_path / "result" / "slabs").iterdir())
    spans = slab_spans(12, 5, 2)
    assert [path.name for path in paths] == [f"slab_{a:03d}-{b - 1:03d}.png" for a, b in spans]
    away = [np.abs(io.read_image(path).astype(float) - plain.all_in_focus).mean(-1) for path in paths]
    for (start, stop), difference in zip(spans, away):
        inside = (scene.index > start + 0.5) & (scene.index < stop - 1.5)
        outside = (scene.index < start - 2) | (scene.index > stop + 1)
        assert difference[inside].mean() < 0.2 * difference[outside].mean()
