"""Metrics against cases worked by hand, and the laws they keep."""

import numpy as np
import pytest

from dff import metrics


@pytest.fixture
def picture():
    """A smooth random texture, 64 x 72, 0 … 1."""
    import cv2

    values = cv2.GaussianBlur(np.random.default_rng(0).random((64, 72)), (0, 0), 1.2)
    return (values - values.min()) / np.ptp(values)


def blurred(values, sigma=2.0):
    import cv2

    return cv2.GaussianBlur(values, (0, 0), sigma)


# Depth


def test_depth_errors_by_hand():
    truth = np.array([[1.0, 2.0, 3.0, np.nan, 5.0, 6.0]])
    index = np.array([[1.0, 2.6, 1.0, 4.0, np.nan, 10.0]])
    errors = metrics.depth_errors(index, truth)
    assert errors.pixels == 4
    assert errors.mae == pytest.approx((0 + 0.6 + 2 + 4) / 4)
    assert errors.rmse == pytest.approx(np.sqrt((0.36 + 4 + 16) / 4))
    assert errors.median == pytest.approx(1.3)
    assert errors.bias == pytest.approx((0.6 - 2 + 4) / 4)
    assert errors.over_half_percent == 75
    assert errors.over_one_percent == 50
    assert errors.over_three_percent == 25
    assert errors.coverage_percent == 80


def test_no_estimate_is_nan_and_no_coverage():
    errors = metrics.depth_errors(np.full((4, 4), np.nan), np.ones((4, 4)))
    assert np.isnan(errors.mae)
    assert errors.coverage_percent == 0
    assert errors.pixels == 0
    with pytest.raises(ValueError, match="index: must have the shape of the truth"):
        metrics.depth_errors(np.ones((3, 4)), np.ones((4, 4)))


def test_occlusion_edges_are_within_half_a_window_of_a_step():
    truth = np.zeros((9, 20))
    truth[:, 10:] = 4.5
    edge = metrics.occlusion_edges(truth)
    assert edge[:, 7:13].all()
    assert not edge[:, :7].any()
    assert not edge[:, 13:].any()
    assert not metrics.occlusion_edges(truth * 4 / 4.5).any()
    assert not metrics.occlusion_edges(np.full((5, 5), np.nan)).any()


def test_regions_partition_the_pixels():
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 30))
    truth[:, 15:] = 9
    index = truth + rng.normal(0, 1, truth.shape)
    filled = rng.random(truth.shape) < 0.3
    regions = metrics.depth_errors_by_region(index, truth, filled=filled)
    whole = regions["all"]
    for one, other in (("interior", "edge"), ("measured", "filled")):
        a, b = regions[one], regions[other]
        assert a.pixels + b.pixels == whole.pixels
        assert (a.mae * a.pixels + b.mae * b.pixels) / whole.pixels == pytest.approx(whole.mae)


def test_error_over_bound_of_a_perfect_estimator_is_one():
    rng = np.random.default_rng(0)
    bound = rng.uniform(0.05, 0.2, (300, 300))
    truth = np.full((300, 300), 7.0)
    index = truth + bound * rng.standard_normal(bound.shape)
    bound[:5] = np.inf
    ratio = metrics.error_over_bound(index, truth, bound)
    assert ratio.rms == pytest.approx(1, abs=0.02)
    assert ratio.robust == pytest.approx(1, abs=0.02)
    index[100, 100] += 1000
    assert metrics.error_over_bound(index, truth, bound).robust == pytest.approx(ratio.robust, abs=1e-3)


def test_interpolation_bias_finds_the_bias_it_was_given():
    truth = np.random.default_rng(0).uniform(2, 9, (200, 200))
    index = truth + 0.1 * np.sin(2 * np.pi * truth)
    bias = metrics.interpolation_bias(index, truth, bins=8)
    expected = 0.1 * np.sin(2 * np.pi * (np.arange(8) + 0.5) / 8) * np.sinc(1 / 8)
    assert np.allclose(bias, expected, atol=0.003)


def test_bumpiness_forgives_planes_and_caps_noise():
    rows, columns = np.mgrid[:20, :30].astype(float)
    assert metrics.bumpiness(0.3 * rows + 0.1 * columns + 2, np.zeros((20, 30))) == pytest.approx(0, abs=1e-10)
    assert metrics.bumpiness(0.5 * 0.01 * rows**2, np.zeros((20, 30))) == pytest.approx(1, rel=0.25)
    noise = np.random.default_rng(0).normal(0, 5, (20, 30))
    assert metrics.bumpiness(noise, np.zeros((20, 30))) == pytest.approx(5, abs=0.1)


# Confidence


def test_oracle_ranking_has_no_area_and_chance_has_all():
    rng = np.random.default_rng(0)
    truth, index = np.zeros((200, 200)), rng.exponential(1, (200, 200))
    oracle = metrics.confidence_quality(index, truth, 1 / (1 + index))
    assert oracle.ause == pytest.approx(0, abs=1e-12)
    chance = metrics.confidence_quality(index, truth, rng.random(index.shape))
    assert chance.ause_relative == pytest.approx(1, abs=0.02)
    blind = metrics.confidence_quality(index, truth, np.full(index.shape, 0.5))
    assert blind.ause_relative == pytest.approx(1)
    worst = metrics.confidence_quality(index, truth, 1 / (1 + 1 / (1 + index)))
    assert worst.ause_relative > 1.5
    assert oracle.mae_at_100 == pytest.approx(index.mean())
    assert chance.mae_at_100 == pytest.approx(index.mean())


def test_sparsification_by_hand():
    error, confidence = np.array([4.0, 0.0, 2.0]), np.array([0.9, 0.5, 0.1])
    curve, oracle = metrics.sparsification(error, confidence)
    assert curve.tolist() == [4, 2, 2]
    assert oracle.tolist() == [0, 1, 2]
    quality = metrics.confidence_quality(error[None], np.zeros((1, 3)), confidence[None])
    assert quality.ause == pytest.approx((4 + 1 + 0) / 3)
    assert quality.ause_relative == pytest.approx(5 / 3)
    assert (quality.mae_at_50, quality.mae_at_100) == (2, 2)


def test_reliability_by_hand():
    error, confidence = np.array([0.5, 3.0, 0.2, 0.9]), np.array([0.9, 0.8, 0.3, 0.1])
    diagram = metrics.reliability(error, confidence, bins=2)
    assert diagram.confidence.tolist() == pytest.approx([0.2, 0.85])
    assert diagram.frequency.tolist() == [1, 0.5]
    assert diagram.pixels.tolist() == [2, 2]
    assert diagram.calibration_error == pytest.approx((0.8 + 0.35) / 2)


def test_kept_promises_have_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(400_000)
    error = np.where(rng.random(confidence.size) < confidence, 0.0, 5.0)
    assert metrics.reliability(error, confidence).calibration_error < 0.005
    assert metrics.reliability(error, confidence**2).calibration_error > 0.1


# Picture


def test_psnr_by_hand(picture):
    assert metrics.psnr(picture, picture) == float("inf")
    assert metrics.psnr(picture + 0.1, picture) == pytest.approx(20)
    colour = np.stack([picture, picture, picture + 0.1], -1)
    assert metrics.psnr(colour, np.stack([picture] * 3, -1)) == pytest.approx(-10 * np.log10(0.01 / 3))
    some = np.zeros(picture.shape, bool)
    some[0] = True
    spoiled = picture.copy()
    spoiled[1:] = 0
    assert metrics.psnr(spoiled + 0.01, picture, pixels=some) == pytest.approx(40)


def test_ssim_of_constants_and_negatives():
    a, b = np.full((30, 30), 0.3), np.full((30, 30), 0.6)
    c1, c2 = 1e-4, 9e-4
    assert metrics.ssim(a, b) == pytest.approx((2 * 0.18 + c1) / (0.09 + 0.36 + c1))
    board = 0.5 + 0.1 * (np.indices((40, 40)).sum(0) % 2 * 2 - 1)
    negative = 1 - board
    variance = 0.01
    expected = (c2 - 2 * variance) / (c2 + 2 * variance)
    assert metrics.ssim(negative, board) == pytest.approx(expected, abs=2e-3)


def test_ssim_is_one_for_itself_symmetric_and_falls_with_blur(picture):
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    little, much = blurred(picture, 0.6), blurred(picture, 2)
    assert metrics.ssim(little, picture) == pytest.approx(metrics.ssim(picture, little))
    assert 1 > metrics.ssim(little, picture) > metrics.ssim(much, picture) > 0
    colour = np.stack([picture] * 3, -1)
    assert metrics.ssim(np.stack([much] * 3, -1), colour) == pytest.approx(metrics.ssim(much, picture))
    assert metrics.ssim_map(much, picture).shape == picture.shape
    with pytest.raises(ValueError, match="SSIM: needs more than 10 px"):
        metrics.ssim(picture[:8], picture[:8])


def test_ssim_window_is_the_gaussian_of_eleven():
    spike = np.zeros((31, 31))
    spike[15, 15] = 1
    x = np.arange(-5, 6)
    taps = np.exp(-(x**2) / 4.5)
    taps /= taps.sum()
    similarity = metrics.ssim_map(spike, np.zeros((31, 31)))
    mean, variance = taps[5] ** 2, taps[5] ** 2 - taps[5] ** 4
    assert similarity[15, 15] == pytest.approx(1e-4 / (mean**2 + 1e-4) * 9e-4 / (variance + 9e-4))
    assert similarity[15, 9] == pytest.approx(1)


def test_visual_information(picture):
    assert metrics.visual_information(picture, picture) == pytest.approx(1, abs=1e-6)
    assert metrics.visual_information(blurred(picture), picture) < 0.3
    assert metrics.visual_information(0.5 + 1.5 * (picture - 0.5), picture) > 1
    noisy = picture + np.random.default_rng(0).normal(0, 0.1, picture.shape)
    assert metrics.visual_information(noisy, picture) < 0.7
    with pytest.raises(ValueError, match="VIF: needs at least 41 px"):
        metrics.visual_information(picture[:40], picture[:40])


def test_visual_information_of_a_gain_by_hand():
    """F = g A without noise: sum log(1 + g² s / n) / sum log(1 + s / n) lies between g² and 1 for g < 1."""
    reference = np.random.default_rng(0).random((41, 41)) * 1e-3
    assert metrics.visual_information(0.5 * reference, reference) == pytest.approx(0.25, abs=0.01)


# Fusion


def test_ideal_values_when_sources_and_fused_are_one(picture):
    quality = metrics.fusion_quality(picture, [picture, picture])
    top = 1 / (1 + np.exp(-5))
    assert quality.edge_preservation == pytest.approx(top**2, abs=1e-6)
    assert round(quality.edge_preservation, 3) == 0.987
    assert quality.mutual_information == pytest.approx(2)
    assert quality.perceptual_contrast == pytest.approx(1)
    assert quality.structural_transfer == pytest.approx(1)
    assert quality.visual_information == pytest.approx(1, abs=1e-6)


def test_order_of_the_sources_does_not_matter(picture):
    soft = blurred(picture)
    sources = [np.where(np.arange(72) < 36, picture, soft), np.where(np.arange(72) < 36, soft, picture)]
    one, other = metrics.fusion_quality(picture, sources), metrics.fusion_quality(picture, sources[::-1])
    assert one == pytest.approx(other)


def test_the_sharp_picture_beats_the_mean_of_the_sources(picture):
    soft = blurred(picture)
    sources = [np.where(np.arange(72) < 36, picture, soft), np.where(np.arange(72) < 36, soft, picture)]
    good, poor = metrics.fusion_quality(picture, sources), metrics.fusion_quality(sum(sources) / 2, sources)
    assert all(a > b for a, b in zip(good, poor))


def test_edge_preservation_by_hand():
    """A ramp against one of a third of the slope, and against one at right angles."""
    ramp = np.tile(np.arange(16.0), (16, 1)) / 30

    def q(ratio, parallel):
        return 1 / (1 + np.exp(-10 * (ratio - 0.5))) / (1 + np.exp(-20 * (parallel - 0.75)))

    inside = metrics.edge_preservation(ramp / 3, [ramp])
    assert inside == pytest.approx(q(1 / 3, 1), rel=1e-9)
    assert metrics.edge_preservation(ramp.T, [ramp]) < q(1, 0.4)
    assert np.isnan(metrics.edge_preservation(ramp, [np.zeros_like(ramp)]))


def test_mutual_information_by_hand():
    a = np.array([[0.0, 0.0, 1.0, 1.0]])
    b = np.array([[0.0, 1.0, 0.0, 1.0]])
    assert metrics.normalised_mutual_information(a, [a, b]) == pytest.approx(1)
    assert metrics.normalised_mutual_information(1 - a, [a]) == pytest.approx(2)
    half = np.array([[0.0, 0.0, 0.0, 1.0]])
    joint = 0.5 * 1 + 2 * 0.25 * 2
    h_half = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert metrics.normalised_mutual_information(half, [a]) == pytest.approx(
        2 * 2 * (1 + h_half - joint) / (1 + h_half)
    )


def test_structural_transfer_by_hand():
    """Flat pictures: the similarity is that of the means; the better source counts where they differ."""
    a, b, fused = (np.full((20, 20), value) for value in (0.2, 0.9, 0.8))
    brightness = 2 * 0.9 * 0.8 / (0.81 + 0.64)
    assert metrics.structural_transfer(fused, [a, b]) == pytest.approx(brightness)
    assert metrics.structural_transfer(a, [a]) == pytest.approx(1)
    white = np.ones((20, 20))
    assert metrics.structural_transfer(white, [white, white]) == pytest.approx(1)


def test_perceptual_contrast_is_bounded_and_blind_to_exposure(picture):
    other = blurred(picture, 1)
    value = metrics.perceptual_contrast(other, [picture])
    assert 0 < value < 1
    assert metrics.perceptual_contrast(0.3 * other + 0.2, [0.5 * picture]) == pytest.approx(value)
    assert metrics.perceptual_contrast(picture, [other]) == pytest.approx(
        metrics.perceptual_contrast(picture, [other, other])
    )


# Fits


def test_line_fit_recovers_scale_and_offset():
    true = np.linspace(0, 5, 50)
    estimated = 1.002 * true - 0.3
    estimated[3] = np.nan
    fit = metrics.fit_line(estimated, true)
    assert fit.scale == pytest.approx(1.002)
    assert fit.offset == pytest.approx(-0.3)
    assert fit.rms == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="needs two different known heights"):
        metrics.fit_line(np.ones(5), np.ones(5))


def test_plane_fit_recovers_slopes_and_noise():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(10, 20, (2, 100, 100))
    points = np.stack([x, y, 0.1 * x - 0.2 * y + 3 + rng.normal(0, 0.01, x.shape)], -1)
    points[5, 5, 2] = np.nan
    fit = metrics.fit_plane(points)
    assert fit.slope_x == pytest.approx(0.1, abs=1e-3)
    assert fit.slope_y == pytest.approx(-0.2, abs=1e-3)
    assert fit.offset == pytest.approx(3, abs=0.01)
    assert fit.rms == pytest.approx(0.01, rel=0.05)
    line = np.stack([np.arange(9.0)] * 3, -1)
    with pytest.raises(ValueError, match="three known points off one line"):
        metrics.fit_plane(line)


def test_similarity_fit_recovers_scale_rotation_and_shift():
    rng = np.random.default_rng(0)
    true = rng.normal(5, 2, (40, 2))
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    estimated = 0.998 * true @ turn.T + [3, -1]
    estimated[7] = np.nan
    fit = metrics.fit_similarity(estimated, true)
    assert fit.scale == pytest.approx(0.998)
    assert fit.rotation_deg == pytest.approx(12)
    assert fit.shift == pytest.approx((3, -1))
    assert fit.rms == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="needs two different known points"):
        metrics.fit_similarity(true[:1], true[:1])
