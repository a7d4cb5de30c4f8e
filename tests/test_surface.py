"""Laws of the surface: which neighbours are joined, what is removed, how points are thinned, what a mesh may span."""

from __future__ import annotations

import numpy as np
import pytest

from dff import optics
from dff.stack import Alignment, DepthMap, FocusGeometry, Mesh
from dff.surface import (
    back_projection,
    grid_mesh,
    grid_normals,
    joined,
    outliers,
    point_blocks,
    point_cloud,
    select_surface,
    thinned,
    to_open3d,
)

SIZE = (90, 120)
COUNT = 41
PIXEL_MM = 0.01
STEP_MM = 0.02


def rail(size: tuple[int, int] = SIZE) -> tuple[FocusGeometry, Alignment]:
    """A rail of known scale whose first frame is the farthest, and frames that need no alignment."""
    geometry = optics.stepped_geometry(np.arange(COUNT) * STEP_MM, size, pixel_size_mm=PIXEL_MM, first="far")
    return geometry, Alignment.identity(COUNT, size)


def depth_map(index: np.ndarray, confidence: np.ndarray | None = None) -> DepthMap:
    """A depth map of full confidence where nothing else is said."""
    index = index.astype(np.float32)
    known = np.isfinite(index)
    certain = known.astype(np.float32) if confidence is None else confidence
    return DepthMap(index=index, confidence=certain, sigma=np.where(known, np.float32(0.1), np.float32(np.nan)))


def grid(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return columns, rows


def colours(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture whose red is the column and whose green is the row."""
    columns, rows = grid(size)
    return np.stack([columns, rows, np.full(size, 7)], axis=-1).astype(np.uint8)


def mesh_of(index: np.ndarray, *, cut_frames: float = 3.0, max_faces: int = 0) -> Mesh:
    """The mesh of an index map on the rail."""
    size = index.shape
    grey = np.full((*size, 3), 128, np.uint8)
    return grid_mesh(depth_map(index), *rail(size), grey, cut_frames=cut_frames, max_faces=max_faces)


def hills(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth surface."""
    x, y = grid(size)
    return 20 + 8 * np.sin(x / 25) * np.cos(y / 19)


def places(mesh: Mesh, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(n, 2) rows and columns of a mesh's vertices, from where they lie in the picture."""
    uv = mesh.uv.astype(float)
    return np.rint(np.column_stack([(1 - uv[:, 1]) * size[0], uv[:, 0] * size[1]]) - 0.5).astype(int)


def area_px(mesh: Mesh, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Signed area of each triangle in the picture, px², positive where it runs counter-clockwise with y up."""
    at = places(mesh, size)[mesh.triangles] * (-1, 1)
    first, second = at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]
    return (first[:, 1] * second[:, 0] - first[:, 0] * second[:, 1]) / 2


# Neighbours


def test_a_step_is_cut_and_a_slope_is_not() -> None:
    """Across a step no link; on a steady slope every link, however steep."""
    x, _ = grid()
    across, down = joined(np.where(x < 60, 10, 16.0), 3.0)
    assert not across[:, 59].any()
    assert np.delete(across, 59, axis=1).all()
    assert down.all()
    across, _ = joined(5.0 * x, 3.0)
    assert across[:, 2:-2].all()


def test_a_step_smeared_over_two_pixels_is_cut() -> None:
    """A pixel that mixes both sides of an edge is no slope."""
    x, _ = grid()
    across, _ = joined(np.select([x < 60, x == 60], [10, 14.0], 18.0), 3.0)
    assert not across[:, 59:61].any()


def test_a_step_smeared_over_three_links_is_cut() -> None:
    """Level ground on both sides of a short ramp is a blurred edge; a slope as steep that goes on is none."""
    x, _ = grid()
    across, _ = joined(np.interp(x, [58, 61], [10, 13.6]), 3.0)
    assert not across[:, 58:61].any()
    assert across[:, :58].all()
    assert across[:, 61:].all()
    assert joined(1.2 * x, 3.0)[0].all()
    assert joined(np.interp(x, [40, 80], [10, 58]), 3.0)[0].all()


def test_a_cut_does_not_fray() -> None:
    """Along an edge whose height wanders about the limit the cut is whole; alone, a step below it stays joined."""
    x, y = grid()
    wandering = np.where(x < 60, 10, 13 + 0.9 * np.sin(y / 3))
    assert not joined(wandering, 3.0)[0][:, 59].any()
    assert joined(np.where(x < 60, 10, 12.0), 3.0)[0].all()


def test_unknown_pixels_join_nothing() -> None:
    """No link touches an unknown pixel."""
    index = hills()
    index[40, 50] = np.nan
    across, down = joined(index, 3.0)
    assert not across[40, 49:51].any()
    assert not down[39:41, 50].any()
    assert across.sum() == across.size - 2
    assert down.sum() == down.size - 2


# Normals


def _plane_points(slope_x: float, slope_y: float) -> np.ndarray:
    x, y = grid()
    return np.stack([x, -y, slope_x * x - slope_y * y], axis=-1).astype(np.float32)


def test_normals_of_a_plane_are_exact_beside_steps_and_holes() -> None:
    """A tilted plane's normal is the same everywhere, whatever is cut out of it or stands on it."""
    points = _plane_points(0.4, -0.7)
    points[30:40, 50:70, 2] += 30
    points[60:64, 20:30] = np.nan
    across, down = joined(points[..., 2], 5.0)
    normals = grid_normals(points, across, down)
    expected = np.array([-0.4, 0.7, 1]) / np.sqrt(1 + 0.4**2 + 0.7**2)
    known = np.isfinite(points[..., 2])
    assert np.abs(normals[known] - expected).max() < 1e-4
    assert np.isnan(normals[~known]).all()


def test_normals_of_a_hemisphere_point_outwards() -> None:
    """Normals of a ball are its radii to one degree, up to 60 degrees from the axis."""
    x, y = grid((201, 201))
    x, y, radius = x - 100, 100 - y, 90.0
    z = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    points = np.stack([x, y, z], axis=-1).astype(np.float32)
    normals = grid_normals(points, np.ones((201, 200), bool), np.ones((200, 201), bool))
    inside = z > radius / 2
    cosine = (normals * points / radius).sum(axis=-1)[inside]
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max() < 1
    assert (normals[inside][:, 2] > 0).all()


def test_a_lonely_pixel_looks_at_the_camera() -> None:
    """Where nothing around is known the normal is the axis, and every normal has unit length."""
    points = _plane_points(0.2, 0.1)
    points[2:23, 2:23] = np.nan
    points[12, 12] = (12, -12, 3)
    points[:, 60:] = np.nan
    normals = grid_normals(points, *joined(points[..., 2], 1.0))
    np.testing.assert_array_equal(normals[12, 12], (0, 0, 1))
    known = np.isfinite(points[..., 2])
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=-1), 1, rtol=1e-5)


# What is removed


def test_spikes_are_outliers_and_edges_are_not() -> None:
    """Single and double pixels that stand off are found; noise, slopes, steps and their corners stay."""
    rng = np.random.default_rng(1)
    x, y = grid()
    index = hills() + 0.05 * rng.standard_normal(SIZE) + np.where((x > 40) & (x < 90) & (y > 30) & (y < 70), 12, 0)
    spikes = np.zeros(SIZE, bool)
    spikes[rng.integers(3, 87, 25), rng.integers(3, 117, 25)] = True
    spikes[20, 20:22] = True
    index[spikes] += 6
    found = outliers(index.astype(np.float32), 3.0, floor=0.25)
    assert found[spikes].mean() > 0.95
    assert found[~spikes].mean() < 0.001


def test_the_outlier_limit_follows_the_noise() -> None:
    """In a noisy region a deviation is usual that stands out in a quiet one."""
    rng = np.random.default_rng(2)
    noise = np.where(grid()[0] < 60, 0.02, 1.0) * rng.standard_normal(SIZE)
    index = (10 + noise).astype(np.float32)
    index[45, 30] += 2.5
    found = outliers(index, 3.0, floor=0.05)
    assert found[45, 30]
    assert found[:, 66:].mean() < 0.03


def test_small_islands_go_and_large_ones_stay() -> None:
    """A patch that is joined to nothing is kept from the given size on."""
    index = np.full(SIZE, 10.0)
    index[10:15, 10:15] = 20
    index[40:60, 40:60] = 20
    index[:, 100] = np.nan
    index[5:9, 104:108] = np.nan
    shown = select_surface(depth_map(index), min_island_px=100)
    assert np.isnan(shown.index[10:15, 10:15]).all()
    assert shown.known.sum() == np.isfinite(index).sum() - 25
    everything = select_surface(depth_map(index), min_island_px=0, outlier_sigma=0)
    np.testing.assert_array_equal(everything.known, np.isfinite(index))


def test_only_confident_pixels_are_shown() -> None:
    """What falls below the confidence asked for is unknown in all three maps."""
    confidence = np.where(grid()[0] < 60, 0.49, 0.5).astype(np.float32)
    shown = select_surface(depth_map(hills(), confidence), min_confidence=0.5)
    assert not shown.known[:, :60].any()
    assert shown.known[:, 60:].all()
    assert (shown.confidence[:, :60] == 0).all()
    assert np.isnan(shown.sigma[:, :60]).all()


def test_an_empty_map_stays_empty() -> None:
    """Nothing known gives nothing, without a warning."""
    shown = select_surface(depth_map(np.full(SIZE, np.nan)))
    assert not shown.known.any()
    assert len(point_cloud(shown, *rail(), colours())) == 0
    with pytest.raises(ValueError, match="mesh: needs joined known pixels; got none"):
        grid_mesh(shown, *rail(), colours())


# Points


def test_points_carry_their_pixel() -> None:
    """Position, colour, confidence and normal of a point are those of one pixel."""
    confidence = np.linspace(0.5, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    points = point_cloud(depth_map(np.full(SIZE, 5.0), confidence), *rail(), colours())
    columns, rows = points.colours[:, 0].astype(float), points.colours[:, 1].astype(float)
    np.testing.assert_allclose(points.points[:, 0], (columns - 59.5) * PIXEL_MM, atol=1e-6)
    np.testing.assert_allclose(points.points[:, 1], (44.5 - rows) * PIXEL_MM, atol=1e-6)
    np.testing.assert_allclose(points.points[:, 2], 5 * STEP_MM, atol=1e-6)
    np.testing.assert_array_equal(points.confidence, confidence.ravel())
    np.testing.assert_allclose(points.normals, np.tile([0, 0, 1], (len(points), 1)), atol=1e-6)
    assert points.unit == "mm"


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (np.full((*SIZE, 3), 65535, np.uint16), 255),
        (np.full((*SIZE, 1), 257 * 40, np.uint16), 40),
        (np.full((*SIZE, 3), 0.5, np.float32), 128),
        (np.full((*SIZE, 1), 77, np.uint8), 77),
    ],
    ids=["16-bit", "16-bit grey", "float", "8-bit grey"],
)
def test_colours_of_any_type_become_eight_bits(picture: np.ndarray, expected: int) -> None:
    """White stays white, grey becomes three equal channels."""
    points = point_cloud(depth_map(hills()), *rail(), picture)
    assert points.colours.dtype == np.uint8
    assert (points.colours == expected).all()
    assert points.colours.shape == (SIZE[0] * SIZE[1], 3)


@pytest.mark.parametrize("limit", [10800, 6000, 3000, 2160, 999, 100, 7])
def test_points_are_thinned_evenly(limit: int) -> None:
    """No more than the limit, not far less, and as far apart as their number allows."""
    chosen = thinned(np.ones(SIZE, bool), limit)
    assert chosen.sum() <= limit
    assert chosen.sum() > 0.45 * limit
    rows, columns = np.nonzero(chosen)
    if 1 < len(rows) < SIZE[0] * SIZE[1]:
        distance = np.hypot(rows[:, None] - rows, columns[:, None] - columns) if len(rows) < 3500 else np.ones((2, 2))
        np.fill_diagonal(distance, np.inf)
        assert distance.min() >= 0.6 * np.sqrt(SIZE[0] * SIZE[1] / len(rows)) or len(rows) > 3500


def test_blocks_of_rows_do_not_change_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points and normals are the same however many rows are worked on at a time."""
    depth = depth_map(hills() + 6 * (grid()[0] > 60))
    whole = point_cloud(depth, *rail(), colours())
    monkeypatch.setattr(back_projection, "BLOCK_PX", 7 * SIZE[1])
    blocks = list(point_blocks(depth, *rail(), colours()))
    assert len(blocks) == 13
    strips = point_cloud(depth, *rail(), colours())
    for name in ("points", "normals", "colours", "confidence"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(strips, name))


def test_open3d_gets_all_attributes() -> None:
    """The Open3D cloud and mesh carry positions, colours, normals, confidence, triangles and texture places."""
    pytest.importorskip("open3d", exc_type=ImportError)
    points = point_cloud(depth_map(hills()), *rail(), colours(), max_points=500)
    converted = to_open3d(points).point
    np.testing.assert_array_equal(converted.positions.numpy(), points.points)
    np.testing.assert_array_equal(converted.colors.numpy(), points.colours)
    np.testing.assert_array_equal(converted.normals.numpy(), points.normals)
    np.testing.assert_array_equal(converted.confidence.numpy()[:, 0], points.confidence)
    mesh = mesh_of(hills(), max_faces=5000)
    copied = to_open3d(mesh)
    np.testing.assert_array_equal(copied.vertex.positions.numpy(), mesh.vertices)
    np.testing.assert_array_equal(copied.vertex.normals.numpy(), mesh.normals)
    np.testing.assert_array_equal(copied.triangle.indices.numpy(), mesh.triangles)
    np.testing.assert_array_equal(copied.triangle.texture_uvs.numpy(), mesh.uv[mesh.triangles])


# Meshes


def test_a_whole_surface_takes_every_quad_once() -> None:
    """Vertices are shared, all triangles face the camera, and together they cover the picture once."""
    mesh = mesh_of(hills())
    assert len(mesh.vertices) == SIZE[0] * SIZE[1]
    assert len(mesh.triangles) == 2 * (SIZE[0] - 1) * (SIZE[1] - 1)
    np.testing.assert_array_equal(area_px(mesh), 0.5)
    corners = mesh.vertices[mesh.triangles]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def _edge_uses(mesh: Mesh) -> np.ndarray:
    edges = np.sort(mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


RUIN = (193, 250)


def _hilly_ruin() -> np.ndarray:
    index = hills(RUIN)
    index[30:60, 40:80] += 10
    index[10:14, 100:106] = np.nan
    index[70, 20] = np.nan
    return index


@pytest.mark.parametrize("max_faces", [0, 60000, 30000])
def test_no_triangle_spans_a_step_or_an_unknown_pixel(max_faces: int) -> None:
    """Whole or thinned, what is covered is the quads that are one surface, each once, without cracks."""
    index = _hilly_ruin()
    mesh = mesh_of(index, max_faces=max_faces)
    whole = mesh_of(index)
    assert area_px(mesh, RUIN).sum() == area_px(whole, RUIN).sum()
    assert (area_px(mesh, RUIN) > 0).all()
    assert _edge_uses(mesh).max() == 2
    boundary = (_edge_uses(mesh) == 1).sum()
    at = places(mesh, RUIN)
    assert np.isfinite(index[tuple(at.T)]).all()
    assert np.ptp(index[tuple(at.T)][mesh.triangles], axis=1).max() < 6
    if max_faces:
        assert len(mesh.triangles) <= max_faces
        assert boundary <= (_edge_uses(whole) == 1).sum()


def test_thinning_keeps_to_the_surface() -> None:
    """A mesh of a tenth of the triangles leaves the surface by less than a tenth of a frame, and holds its colour."""
    size = (193, 250)
    index = hills(size)
    mesh = mesh_of(index, max_faces=9600)
    assert 8000 < len(mesh.triangles) <= 9600
    drawn = _rasterised(mesh, size)
    assert np.nanmax(np.abs(drawn / STEP_MM - index)) < 0.1
    assert np.isfinite(drawn).all()


def _rasterised(mesh: Mesh, size: tuple[int, int]) -> np.ndarray:
    """Height of the mesh at every pixel."""
    height = np.full(size, np.nan)
    for corners, z in zip(places(mesh, size)[mesh.triangles], mesh.vertices[mesh.triangles][..., 2]):
        low, high = corners.min(axis=0), corners.max(axis=0) + 1
        rows, columns = (part.ravel() for part in np.mgrid[low[0] : high[0], low[1] : high[1]])
        basis = np.column_stack([corners, np.ones(3)]).T
        weights = np.linalg.solve(basis, np.stack([rows, columns, np.ones(rows.size)]))
        inside = (weights >= -1e-9).all(axis=0)
        height[rows[inside], columns[inside]] = z @ weights[:, inside]
    return height


def test_thinning_keeps_colour_where_there_is_some() -> None:
    """On a flat surface the vertices go where the picture has detail."""
    size = (129, 257)
    picture = np.full((*size, 3), 90, np.uint8)
    picture[:, 128:] = np.random.default_rng(0).integers(0, 255, (129, 129, 1))
    mesh = grid_mesh(depth_map(np.full(size, 5.0)), *rail(size), picture, max_faces=20000)
    columns = places(mesh, size)[:, 1]
    assert (columns > 128).mean() > 0.9


def test_ragged_meshes_come_within_the_limit_too() -> None:
    """Where holes alone would take more triangles than allowed, rows and columns are left out."""
    index = hills()
    index[np.random.default_rng(0).random(SIZE) < 0.1] = np.nan
    mesh = mesh_of(index, max_faces=1500)
    assert 400 < len(mesh.triangles) <= 1500
    assert (area_px(mesh) > 0).all()
    assert _edge_uses(mesh).max() == 2


def test_meshes_of_every_third_pixel_have_no_others() -> None:
    mesh = grid_mesh(depth_map(hills()), *rail(), colours(), stride=3)
    assert (places(mesh) % 3 == 0).all()
    assert len(mesh.vertices) > 0.9 * hills()[::3, ::3].size


def test_textures_and_normals_of_a_mesh_belong_to_its_vertices() -> None:
    """The texture place of a vertex is the centre of its pixel, its colour and normal are that pixel's."""
    picture = colours()
    mesh = grid_mesh(depth_map(hills()), *rail(), picture, max_faces=5000)
    rows, columns = places(mesh).T
    np.testing.assert_array_equal(mesh.colours, picture[rows, columns])
    np.testing.assert_allclose(mesh.uv[:, 0], (columns + 0.5) / SIZE[1], atol=1e-6)
    np.testing.assert_allclose(mesh.uv[:, 1], 1 - (rows + 0.5) / SIZE[0], atol=1e-6)
    full = point_cloud(depth_map(hills()), *rail(), picture)
    np.testing.assert_array_equal(mesh.normals, full.normals.reshape(*SIZE, 3)[rows, columns])
    np.testing.assert_array_equal(mesh.vertices, full.points.reshape(*SIZE, 3)[rows, columns])
