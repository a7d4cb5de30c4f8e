"""Laws of the unveiled picture: veils go where depth is right, and nothing else changes."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from dff import fuse
from dff.fuse.cells import NOWHERE, Cells
from dff.fuse.frames import frame_stack
from dff.fuse.veil import unveiled

FRAMES, NEAR, FAR, GROWTH_PX = 20, 4, 15, 1.0
NOISE = 0.002
DEFOCUS = fuse.Defocus(GROWTH_PX, near_first=True)


def disc_blur(planes: np.ndarray, radius_px: float) -> np.ndarray:
    """Planes (H, W, C) under a disc with a soft rim."""
    reach = math.ceil(radius_px) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1)
    return cv2.filter2D(planes, -1, (disc / disc.sum()).astype(np.float32), borderType=cv2.BORDER_REFLECT_101)


def texture(seed: int, rows: int, columns: int, colour: tuple[float, float, float]) -> np.ndarray:
    grain = np.random.default_rng(seed).standard_normal((rows, columns, 1)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 1.2)[..., None]
    return np.clip(np.float32(colour) * (1 + 0.5 * grain / grain.std() * 0.6), 0.02, 0.9).astype(np.float32)


@pytest.fixture(scope="module")
def plate() -> tuple[Tensor, Tensor, Tensor]:
    """Frames of a bright plate before darker ground, the true index, and the picture of it all in focus."""
    rows, columns = 128, 160
    near, far = texture(1, rows, columns, (0.6, 0.5, 0.3)), texture(2, rows, columns, (0.15, 0.25, 0.2))
    y, x = np.mgrid[:rows, :columns]
    matte = (np.hypot(x - 60, y - 64) < 40).astype(np.float32)[..., None]
    light = np.concatenate([matte, matte * near], axis=2)
    random = np.random.default_rng(3)
    frames = []
    for k in range(FRAMES):
        layer = disc_blur(light, GROWTH_PX * abs(k - NEAR))
        frame = layer[..., 1:] + (1 - layer[..., :1]) * disc_blur(far, GROWTH_PX * abs(k - FAR))
        frames.append(frame + NOISE * random.standard_normal(frame.shape).astype(np.float32))
    index = np.where(matte[..., 0] > 0, NEAR, FAR).astype(np.float32)
    sharp = matte * near + (1 - matte) * far
    stacked = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).copy())
    return stacked, torch.from_numpy(index), torch.from_numpy(sharp.transpose(2, 0, 1).copy())


def picture_of(frames: Tensor, index: Tensor, defocus: fuse.Defocus | None = DEFOCUS, noise: float = NOISE) -> Tensor:
    return fuse.all_in_focus(frames, index=index, method="unveiled", defocus=defocus, noise=noise)


def beside(index: Tensor) -> Tensor:
    """Ground within 8 px of the plate."""
    near = (index == NEAR).numpy().astype(np.uint8)
    return torch.from_numpy((cv2.dilate(near, np.ones((17, 17), np.uint8)) > 0) & (near == 0))


def psnr(picture: Tensor, truth: Tensor, where: Tensor) -> float:
    return float(-10 * torch.log10((picture - truth)[:, where].square().mean()))


def test_ground_beside_a_plate_gets_its_own_colours(plate):
    """Without the veil the ground along the edge is better by far, and the plate's own edge is not worse."""
    frames, index, sharp = plate
    plain, clear = picture_of(frames, index, None), picture_of(frames, index)
    assert psnr(clear, sharp, beside(index)) > psnr(plain, sharp, beside(index)) + 3
    assert torch.equal(clear[:, index == NEAR], plain[:, index == NEAR])


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_growth_of_the_blur_need_not_be_exact(plate, factor):
    frames, index, sharp = plate
    plain = picture_of(frames, index, None)
    clear = picture_of(frames, index, fuse.Defocus(factor * GROWTH_PX, near_first=True))
    assert psnr(clear, sharp, beside(index)) > psnr(plain, sharp, beside(index)) + 1


def test_frames_in_reverse_give_the_same_picture(plate):
    frames, index, _ = plate
    reverse = picture_of(frames.flip(0), FRAMES - 1 - index, fuse.Defocus(GROWTH_PX, near_first=False))
    assert torch.allclose(reverse, picture_of(frames, index), atol=1e-5)


def test_nothing_changes_without_occlusion(plate):
    """On a slope that is no steeper than the aperture's rays the picture is the blend, bit for bit."""
    frames, index, _ = plate
    slope = torch.linspace(0, FRAMES - 1, index.shape[1]).expand(index.shape).contiguous()
    for depth in (slope, torch.full_like(slope, 7.3), torch.full_like(slope, torch.nan)):
        assert torch.equal(picture_of(frames, depth), picture_of(frames, depth, None))


def test_a_plate_taken_for_ground_is_not_spoiled(plate):
    """Where depth is wrong there is no proof: the part of a plate that is taken for the ground stays as it was."""
    frames, index, sharp = plate
    wrong = index.clone()
    wrong[50:80, 75:] = FAR
    lost = (wrong == FAR) & (index == NEAR)
    plain, clear = picture_of(frames, wrong, None), picture_of(frames, wrong)
    assert psnr(clear, sharp, lost) > psnr(plain, sharp, lost) - 1


def test_frames_said_to_be_in_reverse_spoil_little(plate):
    frames, index, sharp = plate
    around = torch.from_numpy(cv2.dilate((index == NEAR).numpy().astype(np.uint8), np.ones((17, 17))) > 0)
    plain = picture_of(frames, index, None)
    clear = picture_of(frames, index, fuse.Defocus(GROWTH_PX, near_first=False))
    assert psnr(clear, sharp, around) > psnr(plain, sharp, around) - 1


def test_equal_frames_come_back_unchanged(plate):
    _, index, sharp = plate
    frame = fuse.frame_tensor(fuse.to_dtype(sharp, np.uint16))
    picture = picture_of(frame.expand(FRAMES, -1, -1, -1), index)
    assert np.array_equal(fuse.to_dtype(picture, np.uint16), fuse.to_dtype(frame, np.uint16))


def test_exposure_scales_the_picture(plate):
    frames, index, _ = plate
    darker = picture_of(frames * 0.25, index, noise=NOISE / 8)
    assert torch.allclose(picture_of(frames, index, noise=NOISE / 2) * 0.25, darker, atol=1e-5)


def test_colours_stay_among_those_shown(plate):
    frames, index, _ = plate
    plain, clear = picture_of(frames, index, None), picture_of(frames, index)
    span = frames.max() - frames.min()
    assert clear.min() >= min(0.0, float(plain.min()))
    assert clear.max() <= max(float(plain.max()), float(frames.max() + 0.25 * span))


def test_strips_give_exactly_the_whole_picture(plate):
    frames, index, _ = plate
    frames, index = (torch.cat([part, part.flip(-2), part], -2) for part in (frames, index))
    whole = picture_of(frames, index)
    halo, multiple = fuse.halo_px("unveiled"), fuse.row_multiple("unveiled")
    assert halo % multiple == 0
    for start, stop in ((0, 48), (48, 208), (208, 384)):
        top, bottom = max(0, start - halo), min(384, stop + halo)
        strip = picture_of(frames[:, :, top:bottom], index[top:bottom])
        assert torch.equal(strip[:, start - top : stop - top], whole[:, start:stop])
        inside = slice(start - top, stop - top), slice(None)
        options = {"method": "unveiled", "defocus": DEFOCUS, "noise": NOISE, "inside": inside}
        part = fuse.all_in_focus(frames[:, :, top:bottom], index=index[top:bottom], **options)
        assert torch.equal(part[:, inside[0]], whole[:, start:stop])


def test_frames_that_do_not_cover_a_pixel_are_not_asked(plate):
    frames, index, sharp = plate
    valid = torch.ones(FRAMES, *index.shape, dtype=torch.bool)
    valid[NEAR - 2 : NEAR + 3, :, :70] = False
    pictures = [
        unveiled(
            sharp,
            frame_stack(torch.where(valid[:, None], frames, beyond), None, None, valid),
            index,
            DEFOCUS,
            noise=NOISE,
            clipped=torch.zeros_like(index),
        )
        for beyond in (frames, 1 - frames)
    ]
    assert torch.equal(*pictures)


def test_cells_hold_all_their_pixels():
    """What both sides of the cells hold is what the pixels held, at every size."""
    random = np.random.default_rng(1)
    values = (10 * random.random((32, 48, 3))).astype(np.float32)
    known = random.random((32, 48)) > 0.3
    cells = Cells.of(values, known)
    for side_px in (2, 4, 8):
        cells = cells.coarser()
        assert cells.side_px == side_px
        held = sum((side.share[..., None] * side.values).sum((0, 1)) for side in cells.sides) * side_px**2
        np.testing.assert_allclose(held, values[known].sum(0), rtol=1e-4)
        both = (cells.near.share > 0) & (cells.rest.share > 0)
        assert (cells.near.depth < cells.rest.depth)[both].all()
        assert cells.nearest(1).max() < NOWHERE
