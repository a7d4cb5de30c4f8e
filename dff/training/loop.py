"""One training loop, read from top to bottom, for every focus network."""

from __future__ import annotations

import csv
import platform
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dff.focus import weight_files
from dff.settings import VERSION
from dff.training.curve import draw_curve
from dff.training.losses import LossWeights
from dff.training.scenes import CLOSE_UP_SAMPLING, Sampling, TrainingScene, describe_cache, read_cache
from dff.training.tasks import TASKS


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on.

    Raises:
        ValueError: an unknown network or a number out of range.
    """

    network: str
    scenes: str
    """Folder of rendered scenes."""
    output: str
    """Folder for checkpoints, log, curve and weights."""
    photographs: str | None = None
    """Folder of the pictures that the scenes' textures were taken from; for the run card only."""
    close_ups: int = 0
    """Number of close-ups among the scenes; with any, samples are drawn as of macro stacks."""
    start: str | None = None
    """Weight file that the run starts from; tensors it lacks start as the network makes them."""
    steps: int = 8000
    stop: int | None = None
    """Step to end at, before the learning rate has fallen all the way; the last one if not given."""
    learning_rate: float | None = None
    """Highest; by default what suits the network."""
    encoder_weights: str | None = None
    """Name of an encoder trained elsewhere to start from."""
    warm_up_steps: int = 200
    weight_decay: float = 1e-4
    pixel_frames: int = 12 * 128 * 128
    """Largest number of pixels times frames in one step."""
    samples_a_step: int = 1
    averaging: float = 0.998
    """Share of the running mean of the weights kept at each step; the mean is what is saved."""
    seed: int = 0
    held_back: float = 0.06
    """Share of the scenes kept for scoring."""
    checkpoint_s: float = 180.0
    log_steps: int = 50
    device: str = "cpu"
    losses: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.network not in TASKS:
            raise ValueError(f"NAME: must be one of {', '.join(TASKS)}; got {self.network!r}; choose one of them")
        encoders = TASKS[self.network].encoders
        if self.encoder_weights is not None and self.encoder_weights not in encoders:
            raise ValueError(
                f"--encoder-weights: must be one of {', '.join(encoders) or 'none'} for {self.network}; "
                f"got {self.encoder_weights!r}; leave the option out"
            )
        for name in ("steps", "learning_rate", "pixel_frames", "samples_a_step", "log_steps"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be positive; got {getattr(self, name)}; give a positive number")

    @property
    def highest_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.learning_rate or TASKS[self.network].learning_rate

    @property
    def sampling(self) -> Sampling:
        """How samples are drawn."""
        return replace(CLOSE_UP_SAMPLING if self.close_ups else Sampling(), pixel_frames=self.pixel_frames)

    def build(self) -> nn.Module:
        """The network before its first step, as wide as the one it starts from."""
        task = TASKS[self.network]
        if self.encoder_weights:
            return task.encoders[self.encoder_weights]()
        return task.network(**(weight_files.options_of(self.network, self.start) if self.start else {}))


@dataclass
class Run:
    """The state of a training run: all that a checkpoint keeps."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    hours: float = 0.0

    @staticmethod
    def start(recipe: Recipe) -> Run:
        """A fresh run."""
        torch.manual_seed(recipe.seed)
        network = recipe.build().to(recipe.device)
        if recipe.start is not None:
            expected = network.state_dict()
            given = weight_files.load_weights(recipe.network, expected, path=recipe.start, complete=False)
            network.load_state_dict(expected | given)
        average = deepcopy(network).requires_grad_(False)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
        return Run(network, average, optimiser)

    def save(self, path: Path) -> None:
        """Write a checkpoint, in one piece or not at all."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        torch.save({**parts, "step": self.step, "hours": self.hours}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        kept = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(kept[name])
        self.step, self.hours = kept["step"], kept["hours"]


def train(recipe: Recipe, *, on_progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Train a network, or go on where its output folder's checkpoint stopped.

    Args:
        recipe: What to train, on what, for how long.
        on_progress: Called as (stage, done, total).

    Returns:
        Path of the weight file; its run card is beside it.
    """
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)
    run, checkpoint = Run.start(recipe), output / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    training, held_back = split(read_cache(recipe.scenes), recipe.held_back)
    log, saved_at = Log(output / "log.csv", run.step), time.monotonic()
    last = recipe.stop or recipe.steps
    while run.step < last:
        losses = one_step(run, recipe, training)
        log.add(losses)
        if run.step % recipe.log_steps == 0 or run.step == last:
            log.write(run.step, learning_rate(recipe, run.step))
        if time.monotonic() - saved_at > recipe.checkpoint_s or run.step == last:
            now = time.monotonic()
            run.hours, saved_at = run.hours + (now - saved_at) / 3600, now
            run.save(checkpoint)
            draw_curve(output / "log.csv", output / "curve.png")
        if on_progress:
            on_progress("training", run.step, last)
    return save_result(run, recipe, held_back)


def one_step(run: Run, recipe: Recipe, scenes: Sequence[TrainingScene]) -> dict[str, float]:
    """One step of the optimiser; what it sees depends on the seed and the step's number only."""
    random, task = np.random.default_rng([recipe.seed, run.step]), TASKS[recipe.network]
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(recipe, run.step)
    run.optimiser.zero_grad(set_to_none=True)
    totals: dict[str, float] = {}
    for _ in range(recipe.samples_a_step):
        losses = task.losses(run.network, scenes, random, recipe.sampling, recipe.device, recipe.losses)
        (losses["total"] / recipe.samples_a_step).backward()
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0.0) + float(loss.detach()) / recipe.samples_a_step
    nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    keep_average(run, min(recipe.averaging, run.step / (run.step + 10)))
    return totals


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    warm = min(1.0, (step + 1) / max(1, recipe.warm_up_steps))
    falling = 0.5 * (1 + np.cos(np.pi * min(1.0, step / recipe.steps)))
    return float(recipe.highest_rate * warm * (0.01 + 0.99 * falling))


@torch.no_grad()
def keep_average(run: Run, share: float) -> None:
    """Move the running mean of the weights toward the weights."""
    for mean, weight in zip(run.average.parameters(), run.network.parameters()):
        mean.lerp_(weight, 1 - share)
    for kept, value in zip(run.average.buffers(), run.network.buffers()):
        kept.copy_(value)


def split(scenes: list[TrainingScene], held_back: float) -> tuple[list[TrainingScene], list[TrainingScene]]:
    """Scenes to train on, and every so many kept for scoring."""
    every = max(2, round(1 / held_back)) if held_back > 0 else len(scenes) + 1
    kept = scenes[every - 1 :: every]
    return [scene for number, scene in enumerate(scenes) if (number + 1) % every], kept


def save_result(run: Run, recipe: Recipe, held_back: list[TrainingScene]) -> Path:
    """Write the averaged weights with their run card."""
    path, task = Path(recipe.output) / f"{recipe.network}.safetensors", TASKS[recipe.network]
    data = describe_cache(recipe.scenes)
    network = task.kept(run.average.eval())
    card = {
        "network": recipe.network,
        "options": dict(getattr(network, "options", {})),
        "parameters": sum(p.numel() for p in network.parameters()),
        "command": command(recipe, data["scenes"]),
        "settings": asdict(recipe) | {name: Path(value).name for name, value in paths(recipe).items()},
        "parent": parent(recipe),
        "data": data,
        "seed": recipe.seed,
        "steps": run.step,
        "hours": round(run.hours, 3),
        "machine": machine(recipe.device),
        "scores": task.scores(network, held_back, recipe.device),
        "version": VERSION,
    }
    weight_files.save_weights(path, network.state_dict(), card)
    return path


def paths(recipe: Recipe) -> dict[str, str]:
    """The files and folders of a recipe by name."""
    named = {name: getattr(recipe, name) for name in ("scenes", "photographs", "output", "start")}
    return {name: path for name, path in named.items() if path is not None}


def command(recipe: Recipe, scenes: object) -> str:
    """The command that renders so many scenes and trains so."""
    name = {key: Path(path).name for key, path in paths(recipe).items()}
    photographs = f"--photographs {name['photographs']} " if recipe.photographs else ""
    close_ups = f"--close-ups {recipe.close_ups} " if recipe.close_ups else ""
    start = f"--start {name['start']} " if recipe.start else ""
    stop = f"--stop {recipe.stop} " if recipe.stop else ""
    return (
        f"dff train {recipe.network} -o {name['output']} --scenes {name['scenes']} --render {scenes} {close_ups}"
        f"{photographs}{start}--steps {recipe.steps} {stop}--learning-rate {recipe.highest_rate:g} "
        f"--seed {recipe.seed} --device {recipe.device}"
    )


def parent(recipe: Recipe) -> dict[str, str] | None:
    """Name and SHA-256 of the weights that the run started from."""
    if recipe.start is None:
        return None
    return {"file": Path(recipe.start).name, "sha256": weight_files.checksum(recipe.start)}


def machine(device: str) -> str:
    """The kind of machine, in words."""
    if device.startswith("cuda"):
        return f"one {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} thread(s) of a {platform.machine()} processor"


class Log:
    """Mean losses every so many steps, in a CSV file that a resumed run goes on with."""

    def __init__(self, path: Path, step: int):
        self.path, self.sums, self.count = path, dict[str, float](), 0
        self.started = time.monotonic()
        if path.exists():
            rows = path.read_text(encoding="utf-8").splitlines()
            kept = [row for row in rows[1:] if int(row.split(",")[0]) <= step]
            path.write_text("\n".join([rows[0], *kept]) + "\n", encoding="utf-8")

    def add(self, losses: dict[str, float]) -> None:
        """Take one step's losses in."""
        self.count += 1
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss

    def write(self, step: int, rate: float) -> None:
        """Append a row of means and start over."""
        row = {"step": step, "learning_rate": f"{rate:.3g}", "seconds": f"{time.monotonic() - self.started:.0f}"}
        row |= {name: f"{total / self.count:.5f}" for name, total in self.sums.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.sums, self.count = {}, 0
