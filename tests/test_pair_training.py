"""Training of the networks of pairs: what they are told is true, adversaries learn only their own lesson."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dff.focus import fusegan, load_measure, weight_files
from dff.training import TASKS, Recipe, train
from dff.training.adversarial import Adversaries, fusegan_adversaries, picked_of
from dff.training.losses import LossWeights
from dff.training.pair_losses import draw_pairs, laplacian, unsharp
from dff.training.scenes import Sampling, TrainingScene
from dff.training.scores import generation_scores, pair_scores, scored_pair

SIZE_PX = 64
FRAMES = 12

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scene() -> TrainingScene:
    """A ramp whose frames are blurred by their distance to it."""
    import cv2

    random = np.random.default_rng(0)
    sharp = cv2.GaussianBlur(random.random((SIZE_PX, SIZE_PX), np.float32), (0, 0), 0.8)
    index = np.tile(np.linspace(0.5, FRAMES - 1.5, SIZE_PX, dtype=np.float32), (SIZE_PX, 1))
    levels = [sharp, *[cv2.GaussianBlur(sharp, (0, 0), 0.4 * step) for step in range(1, FRAMES)]]
    away = [np.abs(index - k).round().astype(int) for k in range(FRAMES)]
    frames = [np.choose(np.minimum(step, FRAMES - 1), levels) for step in away]
    return TrainingScene(
        frames=(np.stack(frames) * 65535).astype(np.uint16),
        index=index,
        visible=np.ones_like(index),
        sharp=sharp,
        blur_growth_px=0.4,
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_first_share_says_which_frame_is_nearer_to_focus(scene: TrainingScene, seed: int) -> None:
    """Of far frames one has it all nearly everywhere; where the shares differ much, so do the errors of the frames."""
    pairs = draw_pairs([scene], np.random.default_rng(seed), sampling=Sampling(FRAMES * SIZE_PX**2), device="cpu")
    assert pairs.first.shape == pairs.second.shape == pairs.first_share.shape == pairs.sharp.shape
    assert float(pairs.first_share.min()) >= 0
    assert float(pairs.first_share.max()) <= 1
    error = [(images - pairs.sharp).square() for images in (pairs.first, pairs.second)]
    sure, known = (pairs.first_share - 0.5).abs() > 0.4, pairs.known > 0
    better_first = (pairs.first_share > 0.5) & sure & known
    better_second = (pairs.first_share < 0.5) & sure & known
    for better, gain in ((better_first, error[1] - error[0]), (better_second, error[0] - error[1])):
        assert not better.any() or float(gain[better].mean()) > -1e-5


def test_pairs_depend_on_the_seed_only(scene: TrainingScene) -> None:
    """Equal seeds give equal pairs."""
    first, second = (
        draw_pairs([scene], np.random.default_rng(5), sampling=Sampling(40_000), device="cpu").images for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["sesf-vgg", "drpl", "fusegan", "mffgan", "sesf"])
def test_every_part_of_a_network_is_told_something(scene: TrainingScene, name: str) -> None:
    """Losses are finite, and every weight that is kept has a gradient."""
    torch.manual_seed(0)
    task = TASKS[name]
    network = task.network()
    losses = task.losses(network, [scene], np.random.default_rng(1), Sampling(6 * SIZE_PX**2), "cpu", LossWeights())
    losses["total"].backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for key, weight in task.kept(network).named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all(), key


def test_adversaries_learn_only_their_own_lesson() -> None:
    """The opinion of a map teaches its maker alone; judging a finished map teaches the judge alone."""
    torch.manual_seed(0)
    both = fusegan_adversaries()
    images = torch.rand(1, 2, 32, 32)
    made = both.generator(images).sigmoid()
    (both.opinion(images, made) - 1).square().mean().backward()
    assert all(weight.grad is None for weight in both.discriminator.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in both.generator.parameters() if weight.grad is not None)
    both.zero_grad()
    both.discriminator(images, made.detach()).square().mean().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in both.generator.parameters())
    assert all(weight.grad is not None for weight in both.discriminator.parameters())


def test_edges_of_pictures() -> None:
    """The Laplacian of a ramp is zero inside; a picture minus it has its edges raised."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert not laplacian(ramp)[..., 1:-1, 1:-1].any()
    step = (ramp > 3).float()
    assert unsharp(step)[0, 0, 4, 4] > 1
    assert unsharp(step)[0, 0, 4, 3] < 0


def test_a_pixel_is_taken_from_the_picture_that_is_asked_for() -> None:
    """Second where true, first elsewhere."""
    planes = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])[None]
    second = torch.tensor([[[True, False], [False, True]]])
    assert torch.equal(picked_of(planes, second)[0, 0], second[0].float())


def test_scores_tell_the_truth_from_its_opposite(scene: TrainingScene) -> None:
    """Who knows the answer is at the ceiling, who turns it around is below the mean of both."""
    truth = scored_pair(scene, 150.0, 0).first_is_sharper
    odds = torch.where(truth, 20.0, -20.0)[None]
    right, wrong = (pair_scores(lambda a, b, sign=sign: sign * odds, [scene]) for sign in (1, -1))
    assert right["clean_accuracy"] == 1
    assert right["clean_psnr_db"] == pytest.approx(right["clean_ideal_psnr_db"], abs=0.01)
    assert wrong["clean_psnr_db"] < right["clean_mean_psnr_db"] < right["clean_psnr_db"]
    mean = generation_scores(lambda images: images.mean(1), [scene])  # type: ignore[arg-type]
    assert mean["clean_psnr_db"] == pytest.approx(mean["clean_mean_psnr_db"])


def test_only_the_generator_is_kept(collages: Path, tmp_path: Path) -> None:
    """A short run of two adversaries ends in a weight file that the measure loads by itself."""
    recipe = Recipe(
        network="fusegan",
        scenes=str(collages),
        output=str(tmp_path),
        steps=2,
        pixel_frames=4 * SIZE_PX**2,
        held_back=0.4,
    )
    path = train(recipe)
    card = json.loads(weight_files.card_path(path).read_text())
    assert card["parameters"] == sum(p.numel() for p in fusegan.FuseGan().parameters())
    assert {"clean_accuracy", "clean_mean_psnr_db"} <= card["scores"].keys()
    assert load_measure("fusegan", weights=str(path))(torch.rand(2, 1, 16, 16)).shape == (2, 16, 16)


def test_the_width_of_sesf_vgg_is_read_from_the_card(tmp_path: Path) -> None:
    """A network trained at another width loads without being told."""
    from dff.focus.sesf_vgg import SesfVgg

    network = SesfVgg(width=1 / 16)
    path = tmp_path / "narrow.safetensors"
    weight_files.save_weights(path, network.state_dict(), {"network": "sesf-vgg", "options": network.options})
    assert load_measure("sesf-vgg", weights=str(path))(torch.rand(3, 1, 16, 16)).shape == (3, 16, 16)


def test_an_encoder_that_is_not_there_is_refused(collages: Path, tmp_path: Path) -> None:
    """Only sesf-vgg starts from weights of others."""
    with pytest.raises(ValueError, match="--encoder-weights: must be one of none for drpl; got 'imagenet'"):
        Recipe("drpl", str(collages), str(tmp_path), encoder_weights="imagenet")


def test_adversaries_are_asked_for_by_their_tasks(scene: TrainingScene) -> None:
    """A task of adversaries refuses a network by itself."""
    with pytest.raises(TypeError, match="must be Adversaries; got FuseGan"):
        TASKS["fusegan"].losses(
            fusegan.FuseGan(), [scene], np.random.default_rng(0), Sampling(9000), "cpu", LossWeights()
        )
    assert isinstance(TASKS["mffgan"].network(), Adversaries)
