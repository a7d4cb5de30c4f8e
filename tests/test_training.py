"""Training: samples are what a camera might take, losses prefer the truth, runs lower them and resume exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dff.focus import weight_files
from dff.simulate.scenes import Surfaces
from dff.simulate.stage import Stage
from dff.training import Recipe, train
from dff.training.close_ups import Claws, Printed, printed
from dff.training.loop import command
from dff.training.losses import LossWeights, Target, answer_error, expectation_error, total_loss, unimodality
from dff.training.scenes import (
    FIRST_CLOSE_UP,
    FIRST_SEED,
    Sampling,
    TrainingScene,
    draw_frames,
    draw_sample,
    index_among,
    kind_of,
    read_cache,
)
from dff.training.sight import in_sight

SIZE_PX = 48

pytestmark = pytest.mark.usefixtures("one_thread")


def test_scenes_come_back_from_the_cache(collage: TrainingScene, collages: Path) -> None:
    """A cached scene is the scene that was rendered."""
    read = read_cache(collages)
    assert len(read) == 3
    assert np.array_equal(read[0].frames, collage.frames)
    assert read[0].blur_growth_px == pytest.approx(0.5)


def test_an_empty_cache_is_refused(tmp_path: Path) -> None:
    """Nothing to train on is said in one line."""
    with pytest.raises(ValueError, match="must hold rendered scenes; got none"):
        read_cache(tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_samples_fit_their_truth(collage: TrainingScene, seed: int) -> None:
    """A sample has as many pixels and frames as allowed; known truth lies among its frames."""
    sample = draw_sample([collage], np.random.default_rng(seed), Sampling(9 * SIZE_PX**2))
    count, _, height, width = sample.images.shape
    assert 2 <= count <= 9
    assert (height, width) == sample.target.index.shape
    known = sample.target.index[torch.isfinite(sample.target.index)]
    assert known.numel() > 0
    assert known.min() >= -0.5
    assert known.max() <= count - 0.5
    assert torch.isfinite(sample.images).all()


def test_samples_depend_on_the_seed_only(collage: TrainingScene) -> None:
    """Equal seeds give equal samples."""
    first, second = (draw_sample([collage], np.random.default_rng(5), Sampling(20000)) for _ in range(2))
    assert torch.equal(first.images, second.images)


@pytest.mark.parametrize("numbers", [[2, 4, 6, 8], [8, 6, 4, 2]])
def test_truth_follows_the_frames_taken(numbers: list[int]) -> None:
    """Frame 5 of the scene is half way between the second and the third frame taken; frame 0 is outside."""
    among = index_among(np.array([[5.0, 0.0]], np.float32), np.array(numbers))
    assert among[0, 0] == pytest.approx(1.5)
    assert np.isnan(among[0, 1])


def test_frames_are_evenly_spaced_and_bounded() -> None:
    """Steps are equal and no longer than the blur growth allows."""
    index = np.full((4, 4), 20.0, np.float32)
    for seed in range(20):
        numbers = draw_frames(index, 40, 1.5 / 0.6, 12, np.random.default_rng(seed))
        assert len(set(np.diff(numbers))) == 1
        assert abs(numbers[1] - numbers[0]) * 0.6 <= 1.5
        assert len(numbers) <= 12


def target(index: float, count: int = 9) -> tuple[torch.Tensor, Target]:
    """Images whose frame `index` is sharp, and the target that says so."""
    images = torch.zeros(count, 4, 4)
    images[round(index)] = 0.5
    whole = torch.full((4, 4), float(index))
    return images, Target(whole, torch.ones(4, 4), torch.zeros(4, 4, dtype=torch.bool), torch.full((4, 4), 0.5))


def logits_at(index: float, count: int = 9) -> torch.Tensor:
    """A parabola around an index."""
    return (-((torch.arange(count) - index) ** 2) / 0.72)[:, None, None].expand(-1, 4, 4).clone()


@pytest.mark.parametrize("part", ["label", "distance", "expectation", "picture", "total"])
def test_every_loss_prefers_the_truth(part: str) -> None:
    """Logits that peak at the truth cost less than logits that peak beside it."""
    images, truth = target(4.0)
    right, wrong = (total_loss(logits_at(at), images, truth, LossWeights())[part] for at in (4.0, 5.5))
    assert right < wrong


def test_cells_are_held_to_the_truth_beside_an_operator() -> None:
    """Where the network is split between two frames, the operator's energies decide, and they cost what they decide."""
    images, truth = target(4.0)
    split = torch.logaddexp(logits_at(2.0), logits_at(6.0)).log_softmax(0)
    costs = [
        total_loss(split, images, truth, LossWeights(cell=1), 3 * logits_at(at)[:, :1, :1])["cell"] for at in (2.0, 6.0)
    ]
    assert costs[0] == pytest.approx(float(costs[1]), rel=1e-3)
    right = total_loss(logits_at(4.0), images, truth, LossWeights(cell=1), logits_at(4.0)[:, :1, :1])["cell"]
    assert right < 0.5 * costs[0]


def test_blank_ground_far_from_detail_is_not_in_sight() -> None:
    """Print lets the ground beside it be known, as far as REACH_CELLS, and no ground of another depth."""
    sharp = torch.full((64, 64), 0.2)
    sharp[:, 16:20] = 0.8
    index = torch.full((64, 64), 5.0)
    index[32:] = 15.0
    sharp[32:] = 0.2
    images = sharp + 0.01 * torch.randn(20, 64, 64, generator=torch.Generator().manual_seed(1))
    seen = in_sight(images, Target(index, torch.ones(64, 64), torch.zeros(64, 64, dtype=torch.bool), sharp))
    assert seen[:28, 8:28].all()
    assert not seen[:, 40:].any()
    assert not seen[52:].any()


@pytest.mark.parametrize("kind", [Printed(), Claws()])
def test_close_ups_can_be_built(kind: Callable[[Stage], Surfaces]) -> None:
    """Prints have little but print to see; something stands high above the ground."""
    stage = Stage((48, 48), 0.01, 0.5, 16, np.random.default_rng(4))
    surfaces = kind(stage)
    assert len(surfaces) >= 1
    picture = printed(stage)
    assert picture.shape == (*stage.fine_shape, 3)
    assert 0.02 <= picture.min() <= picture.max() <= 1


def test_close_ups_change_how_samples_are_drawn(recipe: Recipe) -> None:
    """Coarser steps and more JPEG, and the seeds of their own tell what they are."""
    close = replace(recipe, close_ups=10)
    assert close.sampling.largest_blur_growth_px > recipe.sampling.largest_blur_growth_px
    assert close.sampling.pixel_frames == recipe.sampling.pixel_frames
    assert {kind_of(seed) for seed in range(FIRST_CLOSE_UP, FIRST_CLOSE_UP + 5)} == {"printed", "claws"}
    assert kind_of(FIRST_SEED) == "collage"
    assert "--close-ups 10 " in command(close, 3)


def test_unknown_truth_says_nothing_about_frames() -> None:
    """Pixels whose truth is outside the sweep have no gradient but that of having no answer."""
    images, truth = target(4.0)
    truth.index[0, 0] = torch.nan
    logits = logits_at(6.0).requires_grad_(True)
    total_loss(logits, images, truth, LossWeights(answer=0))["total"].backward()
    assert logits.grad is not None
    assert not logits.grad[:, 0, 0].any()
    assert logits.grad[:, 1, 1].any()


def test_no_answer_is_the_right_answer_outside_the_sweep() -> None:
    """Probability that frames lack costs where one of them is right, and is wanted where none is."""
    known = torch.tensor([[True, False]])
    most, least = (torch.full((4, 1, 2), share / 4).log() for share in (0.9, 0.1))
    assert answer_error(most, known)[0, 0] < answer_error(least, known)[0, 0]
    assert answer_error(most, known)[0, 1] > answer_error(least, known)[0, 1]


def test_half_hidden_pixels_have_no_sub_frame_loss() -> None:
    """Where the aperture is half covered the focus curve is not a peak: only the label counts."""
    images, truth = target(4.0)
    truth.visible[:] = 0.5
    assert total_loss(logits_at(5.0), images, truth, LossWeights())["expectation"] == 0


def test_expectation_is_zero_at_the_truth() -> None:
    """A symmetric peak on a whole frame has its mean there."""
    assert expectation_error(logits_at(4.0), torch.full((4, 4), 4.0)).max() < 1e-6


def test_a_second_peak_is_not_unimodal() -> None:
    """Logits that rise away from the truth are charged, a single peak is not."""
    single, double = logits_at(4.0), logits_at(4.0)
    double[6] = 0.0
    index = torch.full((4, 4), 4.0)
    assert unimodality(single, index).max() == 0
    assert unimodality(double, index).min() > 0


@pytest.fixture(scope="module")
def recipe(collages: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run of seconds."""
    return Recipe(
        network="sesf-stack",
        scenes=str(collages),
        output=str(tmp_path_factory.mktemp("run")),
        steps=16,
        warm_up_steps=4,
        learning_rate=4e-3,
        pixel_frames=5 * SIZE_PX**2,
        log_steps=4,
        held_back=0.4,
    )


@pytest.fixture(scope="module")
def trained(recipe: Recipe) -> Path:
    """The weight file of the short run."""
    return train(recipe)


def test_training_lowers_the_loss(recipe: Recipe, trained: Path) -> None:
    """The last rows of the log are below the first; log, curve and checkpoint are there."""
    with (Path(recipe.output) / "log.csv").open() as file:
        total = [float(row["total"]) for row in csv.DictReader(file)]
    assert np.mean(total[-2:]) < np.mean(total[:2])
    assert (Path(recipe.output) / "curve.png").stat().st_size > 1000


def test_the_run_card_tells_everything(recipe: Recipe, trained: Path) -> None:
    """Command, settings, data, seed, hours, machine, scores and checksum stand beside the weights."""
    card = json.loads(weight_files.card_path(trained).read_text())
    wanted = {"command", "settings", "data", "seed", "hours", "machine", "scores", "sha256", "parameters"}
    assert wanted <= card.keys()
    assert card["steps"] == recipe.steps
    assert card["data"]["scenes"] == 3
    assert {"clean_mae", "noisy_edge_mae", "ring_difference_clean_mae"} <= card["scores"].keys()


def test_a_stopped_run_resumes_bit_for_bit(recipe: Recipe, trained: Path, tmp_path: Path) -> None:
    """Stopped in the middle and started again, a run ends with the same weights."""

    class StoppedError(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if done == 10:
            raise StoppedError

    again = replace(recipe, output=str(tmp_path), checkpoint_s=0.0)
    with pytest.raises(StoppedError):
        train(again, on_progress=stop)
    assert train(again).read_bytes() == trained.read_bytes()


def test_an_unknown_network_is_refused(recipe: Recipe) -> None:
    """The line lists the names."""
    with pytest.raises(ValueError, match="NAME: must be one of sesf-stack"):
        replace(recipe, network="other")
