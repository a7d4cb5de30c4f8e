"""What a stack can measure is read from its frames: noise, texture, growth of the blur, and what follows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dff import advice, optics
from dff.stack import FocalStack, ImageMetadata

SIZE = (128, 192)
CONTRAST = 0.1


def texture(seed: int = 0) -> np.ndarray:
    """A texture whose power falls with the square of the frequency, behind a lens."""
    frequency = np.hypot(np.fft.fftfreq(SIZE[0])[:, None], np.fft.fftfreq(SIZE[1]))
    frequency[0, 0] = 1
    white = np.fft.fft2(np.random.default_rng(seed).normal(size=SIZE))
    shaped = white / frequency * np.exp(-2 * (np.pi * 0.8 * frequency) ** 2) * (frequency > 0.01)
    plane = np.fft.ifft2(shaped).real
    return 0.5 + CONTRAST * plane / plane.std()


def stack_of(
    growth_px: float, noise: float, *, frames: int = 24, contrast: float = 1.0, metadata: ImageMetadata | None = None
) -> FocalStack:
    """A gently tilted textured plane under Gaussian blur."""
    plane = 0.5 + contrast * (texture() - 0.5)
    focus = frames / 2 + 0.02 * (np.arange(SIZE[1]) - SIZE[1] / 2)
    sigmas = np.concatenate([[0], np.geomspace(0.1, growth_px * frames, 40)])
    blurred = np.stack([plane if s == 0 else cv2.GaussianBlur(plane, (0, 0), s) for s in sigmas])
    random, columns, pictures = np.random.default_rng(1), np.arange(SIZE[1]), []
    for k in range(frames):
        place = np.interp(growth_px * np.abs(focus - k), sigmas, np.arange(len(sigmas)))
        low = np.minimum(place.astype(int), len(sigmas) - 2)
        share = place - low
        picture = blurred[low, :, columns].T * (1 - share) + blurred[low + 1, :, columns].T * share
        pictures.append((picture + random.normal(0, noise, SIZE)).astype(np.float32)[..., None])
    names = tuple(f"{k}" for k in range(frames))
    return FocalStack(pictures, names, (*SIZE, 1), np.dtype(np.float32), metadata or ImageMetadata())


def assess(stack: FocalStack, **options: float) -> advice.Assessment:
    """The assessment of a stack of unknown scale."""
    return advice.assess(stack, optics.unknown_geometry(np.arange(float(len(stack))), SIZE), **options)


@pytest.mark.parametrize(("growth_px", "noise"), [(0.2, 0.01), (0.4, 0.003), (0.4, 0.02), (0.8, 0.01), (1.2, 0.01)])
def test_the_growth_of_the_blur_and_the_noise_are_measured(growth_px: float, noise: float) -> None:
    """Growth within 20 %, noise within 20 % or a thousandth of white, from the frames alone."""
    found = assess(stack_of(growth_px, noise))
    assert found.blur_growth_px == pytest.approx(growth_px, rel=0.2)
    assert found.noise == pytest.approx(noise, rel=0.2, abs=0.001)


def test_the_limit_is_that_of_the_true_texture() -> None:
    """Within a quarter of the closed form for the spectrum that the frames were made of, and in proportion to it."""
    found = assess(stack_of(0.4, 0.01))
    power = np.abs(np.fft.fft2(texture() - 0.5)) ** 2 / np.prod(SIZE) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIZE[0])[:, None], np.fft.fftfreq(SIZE[1]))
    true = optics.focus_limit(
        0.01,
        texture_variance=power.sum(),
        texture_frequency=(power * frequency).sum() / power.sum(),
        blur_growth_px=0.4,
        window_sigma_px=3.0,
    )
    assert found.limit_frames == pytest.approx(float(true), rel=0.25)
    assert found.weak_limit_frames >= found.limit_frames
    assert assess(stack_of(0.4, 0.02)).limit_frames == pytest.approx(2 * found.limit_frames, rel=0.1)
    assert assess(stack_of(0.4, 0.01), window_sigma_px=6.0).limit_frames == pytest.approx(found.limit_frames / 2)


@pytest.mark.parametrize(
    ("growth_px", "verdict"), [(0.15, "finer than needed"), (0.6, "well chosen"), (2.2, "too coarse")]
)
def test_the_step_is_judged(growth_px: float, verdict: str) -> None:
    """Fine, good and coarse steps are told apart, and the useful ones are told."""
    found = assess(stack_of(growth_px, 0.005))
    assert found.step_verdict == verdict
    low, high = found.useful_steps
    assert low * found.growth_px == pytest.approx(0.3)
    assert high * found.growth_px == pytest.approx(1.4)
    assert verdict in advice.advice(found)


def test_nothing_is_guessed_where_nothing_can_be_seen() -> None:
    """A blank subject has unknown growth, unknown limit and no verdict; the optics still tell the step."""
    lens = ImageMetadata(f_number=5.6, pixel_pitch_mm=0.004)
    blank = stack_of(0.4, 0.01, contrast=0.0, metadata=lens)
    found = assess(blank)
    assert np.isnan(found.blur_growth_px)
    assert np.isnan(found.limit_frames)
    assert found.step_verdict == "unknown"
    assert "--f-number" in advice.advice(found)
    metric = optics.stepped_geometry(0.1 * np.arange(len(blank)), SIZE, pixel_size_mm=0.004)
    told = advice.assess(blank, metric)
    assert told.nominal_growth_px == pytest.approx(optics.blur_growth(0.1, f_number=5.6, m=1.0, pixel_pitch_mm=0.004))
    assert told.step_verdict == "well chosen"
    assert told.useful_steps == pytest.approx(optics.useful_steps(f_number=5.6, m=1.0, pixel_pitch_mm=0.004))


def test_a_long_stack_is_sampled() -> None:
    """More frames than are looked at give the same growth a frame."""
    whole = stack_of(0.15, 0.005, frames=advice.MOST_FRAMES + 20)
    spectra = advice.TileSpectra.of(whole)
    assert spectra.every == 2
    assert len(spectra.power) <= advice.MOST_FRAMES
    assert assess(whole).blur_growth_px == pytest.approx(0.15, rel=0.25)


def test_colour_and_integer_frames_are_read_as_luminance() -> None:
    """An 8-bit colour copy of a grey stack gives the same figures."""
    grey = stack_of(0.5, 0.02, frames=16)
    eight = [np.repeat(np.rint(np.clip(f, 0, 1) * 255).astype(np.uint8), 3, axis=-1) for f in grey.frames]
    colour = FocalStack(eight, grey.names, (*SIZE, 3), np.dtype(np.uint8))
    assert assess(colour).noise == pytest.approx(assess(grey).noise, rel=0.05)
    assert assess(colour).blur_growth_px == pytest.approx(assess(grey).blur_growth_px, rel=0.05)
