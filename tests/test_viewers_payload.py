"""What a page carries of a result: packing is exact, thinning keeps measured points, sizes stay small."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_result import staircase_result

from dff import io, surface
from dff.stack import DepthMap, Reconstruction
from viewers import page, payload


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    return staircase_result()


def unpacked(block: bytes, shape: tuple[int, int], dtype: Any) -> Any:
    """A block as the browser reads it: planes joined, zigzag undone, residuals summed along rows and columns."""
    size = np.dtype(dtype).itemsize
    planes = np.frombuffer(zlib.decompress(block, -15), np.uint8).reshape(size, *shape)
    folded = sum(planes[k].astype(np.int64) << (8 * k) for k in range(size))
    residual = (folded >> 1) ^ -(folded & 1)
    return (np.cumsum(np.cumsum(residual, axis=0), axis=1) % (1 << (8 * size))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_packing_is_exact(dtype: Any) -> None:
    """For every value, jumps between the extremes included."""
    plane = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (37, 23), dtype=dtype, endpoint=True)
    plane[5:9] = 0
    plane[9:12] = np.iinfo(dtype).max
    assert np.array_equal(unpacked(payload.deflated(plane), plane.shape, dtype), plane)


def test_the_index_is_kept_to_half_a_quantum() -> None:
    index = np.linspace(0, 299, 5000, dtype=np.float32)[None]
    index[0, 7] = np.nan
    quantum = payload.quantum_for(index.size, 300)
    code = payload.packed_index(index, quantum)
    assert code[0, 7] == 0
    known = np.isfinite(index)
    assert np.abs((code[known] - 1.0) * quantum - index[known]).max() <= quantum / 2 * 1.01
    assert code[known].min() == 1


@pytest.mark.parametrize(
    ("size_px", "limit", "stride"),
    [((3000, 4000), 12, 1), ((3001, 4000), 12, 2), ((4000, 6000), 12, 2), ((100, 9000), 12, 2), ((8000, 12000), 12, 3)],
)
def test_large_maps_are_thinned_by_whole_pixels(size_px: tuple[int, int], limit: float, stride: int) -> None:
    assert payload.stride_for(size_px, limit) == stride


def test_thinned_points_are_measured_points(result: Reconstruction, tmp_path: Path) -> None:
    """Every pixel of a thinned page is a pixel of the map, and its place is told."""
    packed = payload.make_payload(result, tmp_path, max_megapixels=96 * 96 / 9e6)
    meta = packed.meta
    assert (meta["stride"], meta["size"], meta["first"]) == (3, [32, 32], 1)
    codes = unpacked(packed.maps["index"][0], (32, 32), np.uint16)
    wanted = result.depth.index[1::3, 1::3]
    assert np.array_equal(codes == 0, np.isnan(wanted))
    np.testing.assert_allclose((codes[codes > 0] - 1.0) * meta["quantum"], wanted[codes > 0], atol=1e-3)


def test_strays_are_what_the_mesh_leaves_out(result: Reconstruction, tmp_path: Path) -> None:
    """Confident outliers are marked; points of little confidence are not, so that the slider brings them back."""
    index, confidence = result.depth.index.copy(), result.depth.confidence.copy()
    index[20, 24] += 5
    confidence[30:34, 20:24] = 0.2
    changed = replace(result, depth=DepthMap(index, confidence, result.depth.sigma))
    packed = payload.make_payload(changed, tmp_path)
    flags = unpacked(packed.maps["flags"][0], index.shape, np.uint8)
    assert flags[20, 24] & payload.STRAY
    assert not (flags[30:34, 20:24] & payload.STRAY).any()


def test_joins_are_those_of_the_mesh(result: Reconstruction, tmp_path: Path) -> None:
    packed = payload.make_payload(result, tmp_path)
    flags = unpacked(packed.maps["flags"][0], result.depth.index.shape, np.uint8)
    across, down = surface.joined(result.depth.index, result.settings.cut_frames)
    assert np.array_equal(flags[:, :-1] & payload.ACROSS > 0, across)
    assert np.array_equal(flags[:-1] & payload.DOWN > 0, down)


def test_frames_are_shrunk_to_fit(result: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for k in range(len(result.geometry)):
        io.write_image(io.result_paths(tmp_path).frame_preview(k), noise)
    whole = payload.make_payload(result, tmp_path).frames
    monkeypatch.setattr(payload, "_FRAMES_BYTES", sum(map(len, whole)) // 4)
    assert sum(map(len, payload.make_payload(result, tmp_path).frames)) < sum(map(len, whole)) / 3


def test_names_cannot_break_out_of_the_page(result: Reconstruction, tmp_path: Path) -> None:
    """A folder or frame whose name is markup stays a name."""
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    named = replace(result, names=("</script><script>alert(1)</script>", *result.names[1:]))
    text = page.page(payload.make_payload(named, folder))
    assert "<img src=x" not in text
    assert "</script><script>alert" not in text
    meta = re.search(r'<script type="application/json" id="meta">(.*?)</script>', text, re.S)
    assert meta is not None
    assert json.loads(meta[1])["names"][0] == named.names[0]


def test_a_page_ends_in_html(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.html; got '\.txt'"):
        page.write_page(tmp_path, tmp_path / "scan.txt")


def test_the_page_asks_for_nothing_from_elsewhere(result: Reconstruction, tmp_path: Path) -> None:
    """No address of the network in anything that is loaded, and a policy that forbids it."""
    text = page.page(payload.make_payload(result, tmp_path))
    assert "default-src 'none'" in text
    assert "connect-src 'none'" in text
    for path in page.WEB.iterdir():
        found = re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8"))
        assert [address for address in found if not address.startswith("http://www.w3.org/")] == []
