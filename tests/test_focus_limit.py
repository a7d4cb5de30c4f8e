"""The precision limit: closed form, exact bound, and an estimator that reaches it."""

from __future__ import annotations

import numpy as np
import pytest

from dff import optics

FREQUENCY = np.linspace(0.01, 0.5, 400)
FRAMES = 61
WINDOW_PX = 3.0
NOISE = 0.02


def texture(exponent: float = -1.0, lens_sigma_px: float = 0.8) -> np.ndarray:
    """Power per frequency of a natural texture behind a lens, with a variance of 0.12²."""
    power = FREQUENCY**exponent * np.exp(-4 * np.pi**2 * FREQUENCY**2 * lens_sigma_px**2)
    return 0.12**2 * power / power.sum()


def closed(power: np.ndarray, blur_growth_px: float, noise: float = NOISE, window_px: float = WINDOW_PX) -> float:
    """The closed form for a spectrum."""
    return float(
        optics.focus_limit(
            noise,
            texture_variance=power.sum(),
            texture_frequency=float(power @ FREQUENCY) / power.sum(),
            blur_growth_px=blur_growth_px,
            window_sigma_px=window_px,
        )
    )


def exact(power: np.ndarray, blur_growth_px: float, index: float, **changes: float) -> float:
    """The exact bound for a spectrum."""
    options = {"noise": NOISE, "window_sigma_px": WINDOW_PX, "frames": FRAMES, **changes}
    return optics.exact_focus_limit(
        texture_power=power, texture_frequency=FREQUENCY, blur_growth_px=blur_growth_px, index=index, **options
    )


@pytest.mark.parametrize(
    ("blur_growth_px", "tolerance"), [(0.2, 0.08), (0.35, 0.03), (0.7, 0.03), (1.0, 0.04), (1.4, 0.07)]
)
def test_the_closed_form_is_the_exact_bound_averaged_over_phases(blur_growth_px: float, tolerance: float) -> None:
    """Within a few per cent for a blur growth of 0.2-1.4 px a frame."""
    power = texture()
    bounds = [exact(power, blur_growth_px, FRAMES // 2 + phase) for phase in np.linspace(0, 1, 8, endpoint=False)]
    assert np.sqrt(np.mean(np.square(bounds))) / closed(power, blur_growth_px) == pytest.approx(1, abs=tolerance)


def test_coarse_steps_lose_what_the_closed_form_promises() -> None:
    """Beyond 1.4 px a frame the exact bound leaves the closed form behind, more so the coarser the step."""
    power = texture()
    loss = [max(exact(power, a, 30 + p) for p in (0, 0.25, 0.5)) / closed(power, a) for a in (0.7, 1.4, 2.8, 4.0)]
    assert loss == sorted(loss)
    assert loss[0] < 1.05
    assert loss[-1] > 1.4


def test_laws_of_scale() -> None:
    """Proportional to the noise, inverse to the window, the contrast, and the root of the aperture."""
    power = texture()
    here = exact(power, 0.5, 30.2)
    assert exact(power, 0.5, 30.2, noise=2 * NOISE) == pytest.approx(2 * here)
    assert exact(power, 0.5, 30.2, window_sigma_px=2 * WINDOW_PX) == pytest.approx(here / 2)
    assert exact(4 * power, 0.5, 30.2) == pytest.approx(here / 2)
    assert closed(power, 1.0) == pytest.approx(closed(power, 0.5) / np.sqrt(2))


def test_nothing_is_known_outside_the_sweep_or_without_texture() -> None:
    """The bound grows past the ends of the sweep, and is infinite on a blank patch."""
    power = texture()
    assert exact(power, 0.7, 0.0) > 1.2 * exact(power, 0.7, 30.0)
    assert exact(power, 0.7, -12.0) > 3 * exact(power, 0.7, 0.0)
    assert exact(0 * power, 0.7, 30.0) == np.inf


def matched_filter(spectra: np.ndarray, frequency: np.ndarray, blur_growth_px: float) -> float:
    """Index that maximises the likelihood of a patch's spectra (N, F), the texture profiled out."""
    candidates = np.arange(8, 24, 0.02)
    curvature = 2 * np.pi**2 * blur_growth_px**2 * frequency**2
    defocus = candidates[:, None] - np.arange(len(spectra))
    transfer = np.exp(-curvature * defocus[..., None] ** 2)
    explained = np.abs(np.einsum("ckf,kf->cf", transfer, spectra)) ** 2 / (transfer**2).sum(1)
    return float(candidates[explained.sum(1).argmax()])


@pytest.mark.parametrize("blur_growth_px", [0.35, 0.7, 1.2])
def test_a_matched_filter_reaches_the_bound(blur_growth_px: float) -> None:
    """Monte-Carlo: the rms error of the maximum-likelihood estimate is 0.8-1.3 times the exact bound."""
    random = np.random.default_rng(3)
    pixels, frames, truth, noise, trials = 128, 32, 15.3, 0.02, 120
    frequency = np.fft.rfftfreq(pixels)[1:-1]
    texture_spectrum = np.fft.rfft(random.normal(0, 0.05, pixels))[1:-1]
    transfer = np.exp(-2 * (np.pi * blur_growth_px * frequency * (truth - np.arange(frames))[:, None]) ** 2)
    errors = []
    for _ in range(trials):
        noise_spectra = np.fft.rfft(random.normal(0, noise, (frames, pixels)), axis=1)[:, 1:-1]
        errors.append(matched_filter(texture_spectrum * transfer + noise_spectra, frequency, blur_growth_px) - truth)
    bound = optics.exact_focus_limit(
        noise,
        texture_power=2 * np.abs(texture_spectrum) ** 2 / pixels**2,
        texture_frequency=frequency,
        blur_growth_px=blur_growth_px,
        window_sigma_px=np.sqrt(pixels / (4 * np.pi)),
        index=truth,
        frames=frames,
    )
    assert 0.8 < np.sqrt(np.mean(np.square(errors))) / bound < 1.3


def test_useful_steps_are_where_the_blur_grows_by_a_pixel() -> None:
    """The blur growth of the smallest and largest useful step is 0.3 and 1.4 px."""
    lens = {"f_number": 5.6, "m": 1.0, "pixel_pitch_mm": 0.004}
    growths = [optics.blur_growth(step, **lens) for step in optics.useful_steps(**lens)]
    assert growths == pytest.approx(optics.USEFUL_BLUR_GROWTH_PX)
