"""Laws of the simulator: what a real lens, a real rail and a real sensor obey."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dff import optics
from dff.simulate import DEMO, SCENES, Recipe, render_scene
from dff.simulate.aperture import Aperture
from dff.simulate.camera import Lens, Motion, sweep
from dff.simulate.mesh import laid_flat, read_obj
from dff.simulate.rays import Surfaces
from dff.simulate.sensor import Sensor, decode_srgb, encode_srgb, full_well
from dff.simulate.stage import Stage
from dff.simulate.texture_energy import texture_energy
from dff.simulate.textures import GLASS
from dff.simulate.wave import WaveOptics, strehl_ratio, transfer_function
from dff.stack import FloatArray, Scene

SMALL = {"size_px": 48, "frames": 5}
CLEAN = {"snr": None, "bits": None}


def frames_of(scene: Scene) -> FloatArray:
    """(N, H, W, 3) frames 0..1."""
    return np.stack([scene.stack.frames[k] for k in range(len(scene.stack))]) / np.float32(scene.stack.white)


@pytest.fixture(scope="module")
def level() -> Scene:
    """A level plane in focus in frame 4 of 9, without noise."""
    return render_scene("level", size_px=64, frames=9, blur_growth_px=0.5, sampling_px=0.5, **CLEAN)


# Scenes and their truth


@pytest.mark.parametrize("name", sorted(set(SCENES) - {"level", "textured-plane"}))
def test_every_scene_fills_the_sweep_and_stays_inside_it(name: str) -> None:
    """No truth outside the sweep, and at least a third of it used; light neither black nor burnt out."""
    scene = render_scene(name, size_px=40, frames=4, sampling_px=4)
    assert np.isfinite(scene.index).all()
    assert np.ptp(scene.index) > 0.33 * 3
    assert scene.visible.max() == 1
    assert 0.08 < scene.sharp.mean() < 0.8


def test_equal_seeds_give_equal_stacks() -> None:
    """The seed decides everything, and another seed gives another scene."""
    first, again, other = (render_scene("coin", seed=seed, **SMALL) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first.stack.frames, again.stack.frames))
    assert (first.sharp == again.sharp).all()
    assert np.abs(first.sharp - other.sharp).max() > 0.05


def test_index_and_height_tell_the_same_depth() -> None:
    """The height at an index is the truth's height; a tilted plane's index is its closed form."""
    scene = render_scene("plane", **SMALL, **CLEAN)
    assert scene.stack.geometry is not None
    assert optics.height_map(scene.index, scene.stack.geometry) == pytest.approx(scene.z, abs=1e-4)
    u = (np.arange(48) - 23.5) / 24
    share = 0.5 + 0.36 * u[None] + 0.04 * u[:, None]
    assert scene.index == pytest.approx((1 - share) * 4, abs=1e-3)
    assert (scene.visible == 1).all()


def test_far_first_is_near_first_backwards() -> None:
    """Reversing the frames mirrors the index and changes nothing else."""
    near, far = (render_scene("spheres", first=first, **SMALL, **CLEAN) for first in ("near", "far"))
    assert frames_of(far)[::-1] == pytest.approx(frames_of(near), abs=1e-6)
    assert far.index == pytest.approx(4 - near.index, abs=1e-5)
    assert (far.z == near.z).all()


def test_texture_energy_of_a_grating() -> None:
    """A cosine of amplitude A and frequency f has variance A²/2 and mean frequency f."""
    wave = 0.5 + 0.1 * np.cos(2 * np.pi * 0.125 * np.arange(96))
    variance, frequency = texture_energy(np.broadcast_to(wave[None, :, None], (96, 96, 3)).astype(np.float32), 6.0)
    middle = slice(30, 66)
    assert variance[middle, middle] == pytest.approx(0.005, rel=0.03)
    assert frequency[middle, middle] == pytest.approx(0.125, rel=0.03)


def test_bound_follows_noise_and_contrast() -> None:
    """Ten times the noise or a tenth of the contrast gives about ten times the bound."""
    fine, noisy, faint = (
        np.median(render_scene("level", snr=snr, contrast=contrast, **SMALL).bound)
        for snr, contrast in ((300, 1.0), (30, 1.0), (300, 0.1))
    )
    assert noisy / fine == pytest.approx(10, rel=0.05)
    assert faint / fine == pytest.approx(10, rel=0.15)


# Blur


def test_in_focus_a_plane_equals_the_sharp_picture(level: Scene) -> None:
    """No blur but the in-focus kernel in a plane's own frame."""
    error = frames_of(level)[4] - level.sharp
    assert np.sqrt((error**2).mean()) < 0.002
    assert level.index == pytest.approx(4, abs=1e-4)


def test_blur_is_the_disc_of_the_aperture(level: Scene) -> None:
    """Frame k is the sharp picture through a disc of radius 2 a |k - 4|, so its std grows by a a frame."""
    assert level.settings["blur_growth_px"] == pytest.approx(0.5)
    inner = slice(12, -12)
    for k in (0, 2, 7):
        predicted = cv2.filter2D(level.sharp, -1, disc(2 * 0.5 * abs(k - 4)))
        error = (frames_of(level)[k] - predicted)[inner, inner]
        assert np.sqrt((error**2).mean()) < 0.0015
        sharpest = np.sqrt(((frames_of(level)[k] - level.sharp)[inner, inner] ** 2).mean())
        assert sharpest > 4 * np.sqrt((error**2).mean())


def disc(radius_px: float, finer: int = 15) -> FloatArray:
    """A disc's share of each pixel."""
    reach = int(radius_px) + 1
    axis = (np.arange((2 * reach + 1) * finer) - ((2 * reach + 1) * finer - 1) / 2) / finer
    inside = np.hypot(axis[None], axis[:, None]) <= radius_px
    shares = inside.reshape(2 * reach + 1, finer, 2 * reach + 1, finer).mean((1, 3))
    return shares / shares.sum()


@pytest.mark.parametrize(
    ("capture", "aperture"), [("telecentric", "disc"), ("telecentric", "ring"), ("rail", "polygon"), ("ring", "disc")]
)
def test_a_uniform_scene_stays_uniform(capture: str, aperture: str) -> None:
    """Blur moves light about and neither makes nor loses any."""
    scene = render_scene("level", capture=capture, aperture=aperture, contrast=0, sampling_px=3, **SMALL, **CLEAN)
    light = frames_of(scene)
    assert np.ptp(light, axis=(1, 2)).max() < 1e-4 * light.mean()
    assert light.mean() == pytest.approx(scene.sharp.mean(), rel=1e-5)


@pytest.mark.parametrize("aperture", [Aperture(), Aperture("ring"), Aperture("polygon", 5), Aperture("polygon", 8)])
def test_spread_of_apertures(aperture: Aperture) -> None:
    """The closed form is the standard deviation of the light let through."""
    axis = torch.linspace(-1, 1, 401)
    pupil = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    weight = aperture.transmission(pupil)
    assert aperture.spread == pytest.approx(
        float(((pupil**2).sum(-1) * weight).sum() / (2 * weight.sum())) ** 0.5, rel=3e-3
    )


def hair(stage: Stage) -> Surfaces:
    """A black vertical rod high over a white wall."""
    rod = stage.rods(np.array([[0, -2, 0.9]]), np.array([[0, 2, 0.9]]), np.array([0.06]), np.array([[1e-4] * 3]), GLASS)
    white = np.ones((*stage.fine_shape, 3), np.float32)
    return (stage.relief(np.full(stage.shape, 0.1), white), rod)


def test_a_blurred_hair_shows_what_is_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Focused on the wall, the hair's shadow is the share of the pupil it covers; the wall beside it says so too."""
    monkeypatch.setitem(SCENES, "hair", hair)
    monkeypatch.setattr("dff.simulate.shadows.DARKNESS", 0.0)
    scene = render_scene("hair", size_px=48, frames=11, blur_growth_px=0.7, sampling_px=1, **CLEAN)
    frame, half, radius = frames_of(scene)[9].mean(2), 0.06 * 24, 2 * 0.7 * 8
    offset = np.abs(np.arange(48) - 23.5)
    covered = strip_of_disc((offset + half) / radius) - strip_of_disc((offset - half) / radius)
    assert frame[12:36].mean(0) == pytest.approx(1 - covered, abs=0.012)
    wall = offset > half + 1
    assert scene.visible[12:36][:, wall].mean(0) == pytest.approx(1 - covered[wall], abs=0.02)
    assert (scene.visible[12:36][:, offset < half - 1] == 1).all()
    assert scene.index[12:36][:, wall] == pytest.approx(9, abs=1e-3)
    assert scene.index[24, 24] < 1.5


def strip_of_disc(x: FloatArray) -> FloatArray:
    """Share of a unit disc's area left of x."""
    x = np.clip(x, -1, 1)
    return 0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi


# Perspective, breathing, drift


SPOTS = np.array([(-0.6, 0.4, 0.2), (0.5, -0.5, 0.5), (0.5, 0.6, 0.8)])
"""x and y in mm and height in shares of the sweep."""


def spots(stage: Stage) -> Surfaces:
    """Small white beads at three heights over black ground."""
    place = SPOTS / (stage.half_mm, stage.half_mm, 1)
    beads = stage.rods(place, place, np.full(3, 0.06 / stage.half_mm), np.full((3, 3), 1.5), GLASS)
    return (stage.relief(np.full(stage.shape, 0.01), np.full((*stage.fine_shape, 3), 1e-5, np.float32)), beads)


@pytest.mark.parametrize(("capture", "tilt_deg"), [("telecentric", 3.0), ("rail", 0.0), ("ring", 0.0)])
def test_points_move_between_frames_as_optics_says(
    capture: str, tilt_deg: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point's picture is where its chief ray is: (x - t_k) / (1 - (z - z_k) / L_k) off the axis, in px of p / m_k."""
    monkeypatch.setitem(SCENES, "spots", spots)
    recipe = Recipe(
        size_px=90, frames=5, step_mm=0.6, capture=capture, tilt_deg=(tilt_deg, 0.0), focal_length_mm=30, f_number=4
    )
    scene = render_scene("spots", recipe, sampling_px=1.0, **CLEAN)
    moved = sweep(recipe.lens, recipe.motion, recipe.shape, np.random.default_rng(0))
    for x, y, share in SPOTS:
        nearer = 1 - (share * np.ptp(moved.plane_mm) - moved.plane_mm) / moved.pupil_mm
        expected = (np.array([x, y]) - moved.drift_mm) / (nearer * moved.pixel_mm)[:, None] + 44.5
        found = np.array([brightness_centre(f.mean(2), at) for f, at in zip(frames_of(scene), expected)])
        assert np.ptp(expected, axis=0).max() > 0.5
        assert found - found[2] == pytest.approx(expected - expected[2], abs=0.06)


def brightness_centre(picture: FloatArray, near: FloatArray, reach: int = 14) -> FloatArray:
    """Centroid (x, y) of the light around a point."""
    left, top = (max(0, round(float(c)) - reach) for c in near)
    part = picture[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    rows, columns = np.indices(part.shape)
    return np.array([(columns * part).sum(), (rows * part).sum()]) / part.sum() + (left, top)


@pytest.mark.parametrize("capture", ["telecentric", "rail", "ring"])
def test_truth_geometry_and_alignment_give_millimetres(capture: str) -> None:
    """Index, true alignment and true geometry give back the waves: their period in mm, over the whole field."""
    scene = render_scene(
        "sinusoid", size_px=96, frames=9, capture=capture, focal_length_mm=25, jitter_px=0.6, sampling_px=4, **CLEAN
    )
    geometry, alignment = scene.stack.geometry, scene.alignment
    assert geometry is not None
    assert alignment is not None
    rows, columns = np.indices(scene.index.shape)
    inverse = optics.interpolate(np.linalg.inv(alignment.transforms), scene.index)
    own = np.einsum("hwij,hwj->hwi", inverse, np.stack([columns, rows, np.ones_like(rows)], -1))
    x = (own[..., 0] - optics.interpolate(geometry.centre_px[:, 0], scene.index)) * optics.interpolate(
        geometry.pixel, scene.index
    )
    period_mm = 96 * 0.02 / 4
    waves = np.ptp(geometry.z) * (0.5 + 0.2 * np.sin(2 * np.pi * x / period_mm))
    assert waves == pytest.approx(scene.z, abs=0.02 * np.ptp(geometry.z))
    assert optics.height_map(scene.index, geometry) == pytest.approx(scene.z, abs=1e-4)


def test_ring_breathes_as_the_thin_lens_says() -> None:
    """Focused farther, the magnification is f / (o - f) and T = f (m + 2 + 1/m) has grown by the way of the plane."""
    lens = Lens(magnification=0.5, focal_length_mm=60)
    moved = sweep(lens, Motion(11, 0.3, "ring"), (64, 64), np.random.default_rng(0))
    m = lens.pixel_pitch_mm / moved.pixel_mm
    assert m == pytest.approx(optics.magnification(60, moved.pupil_mm))
    sensor_to_plane = 60 * (m + 2 + 1 / m)
    assert np.diff(sensor_to_plane) == pytest.approx(0.3, rel=1e-6)
    assert m[moved.reference] == pytest.approx(0.5)
    assert moved.nominal.pixel == pytest.approx(moved.pixel_mm)


def test_a_ring_across_magnification_one_is_refused() -> None:
    """There the plane of focus turns back."""
    with pytest.raises(ValueError, match=r"magnification: the ring's sweep must stay on one side of 1"):
        render_scene("level", capture="ring", magnification=0.97, step_mm=1.0, **SMALL)


def test_jitter_moves_the_true_geometry_only() -> None:
    """Nominal steps are even; true ones are not, and the drift is in the true principal points."""
    shaken = {"jitter_z_frames": 0.1, "jitter_px": 0.5, "contrast": 0.5, **SMALL, **CLEAN}
    true, nominal = (render_scene("level", geometry=which, **shaken) for which in ("true", "nominal"))
    assert true.stack.geometry is not None
    assert nominal.stack.geometry is not None
    assert (np.stack(list(true.stack.frames)) == np.stack(list(nominal.stack.frames))).all()
    assert np.ptp(np.diff(nominal.stack.geometry.z)) < 1e-9 < 0.01 < np.ptp(np.diff(true.stack.geometry.z))
    assert np.ptp(nominal.stack.geometry.centre_px, axis=0).max() < 1e-9 < np.ptp(true.stack.geometry.centre_px)
    assert true.alignment is not None
    moved = cv2.warpAffine(true.stack.frames[1], true.alignment.transforms[1, :2], (48, 48), flags=cv2.INTER_CUBIC)
    still = render_scene("level", contrast=0.5, **SMALL, **CLEAN).stack.frames[1]
    inner = slice(6, -6)
    assert np.abs(moved - still)[inner, inner].mean() < 0.5 * np.abs(true.stack.frames[1] - still)[inner, inner].mean()


# Sensor


def test_noise_is_as_promised() -> None:
    """Variance grows with light, and is 1 / snr² at white."""
    clean, noisy = (render_scene("plane", snr=snr, bits=None, **SMALL) for snr in (None, 35))
    light, noise = frames_of(clean), frames_of(noisy) - frames_of(clean)
    assert noise.std() == pytest.approx(np.sqrt(light.mean()) / 35, rel=0.03)
    assert abs(noise.mean()) < 3e-4
    sensor = Sensor(full_well(35, 3.0), 3.0, bits=None)
    white = sensor.expose(np.full((200, 200, 3), 0.999), np.random.default_rng(0)) - 0.999
    assert white[white < 0].std() == pytest.approx(np.sqrt(1 - 2 / np.pi) / 35, rel=0.05)
    assert sensor.noise(np.ones(1)) == pytest.approx(1 / 35)


def test_a_flat_patch_survives_bayer_srgb_and_jpeg() -> None:
    """Uniform light keeps its colour through mosaic, tone curve, quantisation and compression."""
    patch = np.full((32, 32, 3), (0.1, 0.3, 0.5), np.float32)
    sensor = Sensor(None, bayer=True, encoding="srgb", bits=8, jpeg_quality=95)
    frame = sensor.expose(patch, np.random.default_rng(0))
    assert frame.dtype == np.uint8
    assert decode_srgb(frame / 255) == pytest.approx(patch, abs=0.015)
    tones = np.linspace(0, 1, 101)
    assert decode_srgb(encode_srgb(tones)) == pytest.approx(tones, abs=1e-6)


def test_exposure_clips_at_white() -> None:
    """Twice the light is twice the value until white."""
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (8, 64, 3))
    frame = Sensor(None, exposure=2.0, bits=16).expose(ramp, np.random.default_rng(0)) / 65535
    assert frame == pytest.approx(np.minimum(2 * ramp, 1), abs=1e-5)


def test_flicker_vignetting_and_dust() -> None:
    """Gains undo the flicker; corners lose what was said; dust stays with the pixels while the picture drifts."""
    plain = {"size_px": 64, "frames": 5, "contrast": 0, "jitter_px": 1.0, **CLEAN}
    clean, dirty = render_scene("level", **plain), render_scene("level", flicker=0.05, vignetting=0.3, dust=6, **plain)
    assert dirty.alignment is not None
    steady = frames_of(dirty) * dirty.alignment.gains[:, None, None, None]
    assert np.ptp(steady, axis=0).max() < 2e-3
    assert np.ptp(frames_of(dirty).mean((1, 2, 3))) > 0.01
    passed = (frames_of(dirty) / frames_of(clean))[2, ..., 0]
    assert passed[0, 0] / np.median(passed[28:36, 28:36]) == pytest.approx(0.7, abs=0.02)
    assert passed.min() < 0.9 * np.median(passed)


def test_highlights_move_with_the_view() -> None:
    """Gloss adds light, and more in the sharp picture than spread over a blurred one."""
    dull, glazed = (render_scene("spheres", gloss=gloss, **SMALL, **CLEAN) for gloss in (0, 1))
    assert (glazed.sharp >= dull.sharp - 1e-5).all()
    assert (glazed.sharp - dull.sharp).max() > 0.15
    assert (glazed.index == dull.index).all()


# Wave optics


def test_transfer_function_in_focus_is_the_closed_form() -> None:
    """2/π (arccos(s/2) - s/2 sqrt(1 - s²/4)) for a circular pupil sheared by s radii."""
    shear, values = transfer_function(0.0)
    expected = 2 / np.pi * (np.arccos(np.minimum(shear / 2, 1)) - shear / 2 * np.sqrt(np.maximum(1 - shear**2 / 4, 0)))
    assert values == pytest.approx(expected, abs=5e-3)


def test_strehl_ratio_of_defocus() -> None:
    """sinc² of the defocus in waves, which is also the volume under the transfer function."""
    for waves in (0.25, 0.5, 0.8):
        assert strehl_ratio(waves) == pytest.approx(np.sinc(waves) ** 2, abs=1e-4)
        shear, blurred = transfer_function(waves)
        _, sharp = transfer_function(0.0)
        assert (blurred * shear).sum() / (sharp * shear).sum() == pytest.approx(np.sinc(waves) ** 2, abs=0.01)


def test_far_from_focus_waves_agree_with_geometry() -> None:
    """At many waves the low frequencies of the transfer function are the disc's, 2 J1(x) / x."""
    from scipy.special import j1

    shear, values = transfer_function(12.0)
    low = (shear > 0) & (shear < 0.06)
    x = 8 * np.pi * 12.0 * shear[low] / 2
    assert values[low] == pytest.approx(2 * j1(x) / x, abs=0.04)


def test_spherical_aberration_moves_coarse_and_fine_focus_apart() -> None:
    """Coarse detail is sharpest near W20 = -W40, fine detail elsewhere; without aberration both at 0."""
    waves = np.linspace(-1.5, 0.5, 41)
    curves = np.array([np.interp([0.15, 1.0], *transfer_function(w, 1.0)) for w in waves])
    coarse, fine = waves[curves.argmax(0)]
    assert abs(coarse - fine) > 0.1


def test_waves_replace_geometry_near_focus_only() -> None:
    """Far frames keep geometry; the frame in focus loses contrast by diffraction."""
    lens = {"pixel_size_mm": 0.002, "magnification": 5.0, "f_number": 2.0, "focal_length_mm": 40}
    geometric, wave = (
        render_scene("level", wave=on, blur_growth_px=0.5, size_px=64, frames=9, **lens, **CLEAN)
        for on in (False, True)
    )
    change = np.sqrt(((frames_of(wave) - frames_of(geometric)) ** 2).mean((1, 2, 3)))
    assert change[0] < 1e-3 * change[4]
    assert change[4] == change.max() > 0
    assert frames_of(wave)[4].std() < frames_of(geometric)[4].std()
    optic = WaveOptics(Recipe(**lens).lens.aperture_slope, 0.002)
    assert optic.waves(optic.depth_of_field_mm, 1) == pytest.approx(0.5)


# Meshes, photographs, errors


def test_a_sphere_as_a_mesh_is_a_sphere(tmp_path: Path) -> None:
    """Ray-cast heights of a fine mesh are the sphere's, and its rim hides ground from the pupil."""
    path = tmp_path / "ball.obj"
    write_ball(path)
    scene = render_scene(str(path), size_px=64, frames=6, step_mm=0.5, sampling_px=4, **CLEAN)
    top = scene.z.max()
    radius = np.ptp(scene.settings["plane_mm"]) * 0.43
    radius = min(radius, 1.75 * 32 * 0.02 / 2)
    offset = (np.indices((64, 64)) - 31.5) * 0.02
    inside = np.hypot(*offset) < 0.8 * radius
    expected = top - radius + np.sqrt(np.maximum(radius**2 - (offset**2).sum(0), 0))
    assert scene.z[inside] == pytest.approx(expected[inside], abs=0.01 * radius)
    assert scene.visible.min() < 0.7


def write_ball(path: Path, rings: int = 40) -> None:
    """A unit ball of quadrilaterals, with texture and normal numbers in its faces."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.arange(2 * rings) * np.pi / rings, indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    for i in range(rings):
        for j in range(2 * rings):
            corners = [i * 2 * rings + j, (i + 1) * 2 * rings + j]
            corners += [(i + 1) * 2 * rings + (j + 1) % (2 * rings), i * 2 * rings + (j + 1) % (2 * rings)]
            lines.append("f " + " ".join(f"{corner + 1}//1" for corner in corners))
    path.write_text("# ball\nvn 0 0 1\n" + "\n".join(lines))


def test_obj_files(tmp_path: Path) -> None:
    """Polygons become fans, negative numbers count back, and bad files are refused by name."""
    good, bad, empty = tmp_path / "good.obj", tmp_path / "bad.obj", tmp_path / "empty.obj"
    good.write_text("v 0 0 0\nv 4 0 0\nv 4 2 0\nv 0 2 1\nf -4 -3 -2 -1\n")
    vertices, triangles = read_obj(good)
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.ptp(laid_flat(vertices), axis=0) == pytest.approx([1, 0.5, 0.25])
    bad.write_text("v 0 0 zero\n")
    empty.write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match=r"bad\.obj: line 1 must be a vertex or a face"):
        read_obj(bad)
    with pytest.raises(ValueError, match=r"empty\.obj: must hold triangles"):
        read_obj(empty)


def test_textures_from_a_folder_of_pictures(tmp_path: Path) -> None:
    """A red picture makes red ground; an empty folder is refused."""
    with pytest.raises(ValueError, match=r"textures: .* must hold JPEG or PNG"):
        render_scene("level", textures=tmp_path, **SMALL)
    cv2.imwrite(str(tmp_path / "red.png"), np.full((20, 30, 3), (20, 20, 200), np.uint8))
    red, _, blue = render_scene("level", textures=tmp_path, **SMALL, **CLEAN).sharp.mean((0, 1))
    assert red == pytest.approx(decode_srgb(np.array(200 / 255)), rel=0.02)
    assert blue < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capture": "drone"}, "capture: must be telecentric, rail or ring"),
        ({"frames": 1}, "frames: must be at least 2"),
        ({"snr": -1}, "snr: must be positive"),
        ({"blur_growth_px": 0}, "blur_growth_px: must be positive"),
        ({"aperture": "star"}, "aperture: must be disc, polygon, ring"),
        ({"jpeg_quality": 90}, "jpeg_quality: must be 1 to 100 with 8 bits"),
        ({"wave": True, "capture": "rail"}, "wave: needs a telecentric capture"),
        ({"geometry": "guess"}, "geometry: must be true or nominal"),
        ({"first": "middle"}, "first: must be near or far"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    """One line that names the option, the rule and what was given."""
    with pytest.raises(ValueError, match=message) as refused:
        render_scene("level", **(SMALL | change))
    assert "\n" not in str(refused.value)


def test_an_unknown_scene_is_refused() -> None:
    """The scenes there are are listed."""
    with pytest.raises(ValueError, match=r"scene: must be one of .*bristles.*; got 'moon'"):
        render_scene("moon")


def test_the_demo_is_a_small_rail_stack() -> None:
    """The demo's recipe renders, and knows its scale."""
    scene = render_scene("demo", DEMO, size_px=(48, 64), frames=4, sampling_px=6)
    assert scene.stack.dtype == np.uint8
    assert scene.stack.shape == (48, 64, 3)
    assert scene.stack.geometry is not None
    assert scene.stack.geometry.capture == "rail"
    assert scene.stack.geometry.pixel == pytest.approx(0.02)


def test_bands_of_rows_and_other_devices_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """How the picture is cut for memory does not show."""
    whole = render_scene("coin", capture="rail", size_px=64, frames=4, **CLEAN)
    monkeypatch.setattr("dff.simulate.light_field.BAND_BYTES", 1)
    cut = render_scene("coin", capture="rail", size_px=64, frames=4, **CLEAN)
    assert frames_of(cut) == pytest.approx(frames_of(whole), abs=0.01)
    assert np.sqrt(((frames_of(cut) - frames_of(whole)) ** 2).mean()) < 1e-3
    assert (cut.index == whole.index).all()
    assert torch.get_num_threads() >= 1
