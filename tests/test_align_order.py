"""The order along z is found from the frames, up to its direction."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import kendalltau
from test_align import Bench, as_type, focal_stack, similarity

from dff.align import estimate_order
from dff.align.order import shortest_path
from dff.stack import FocalStack


def agreement(order: list[int], shuffled: np.ndarray) -> float:
    """Kendall's tau between the order found and the true one, whichever its direction."""
    return abs(float(kendalltau(shuffled[order], np.arange(len(order))).statistic))


def real_stack(folder: Path, every: int = 1) -> FocalStack:
    """Frames of a folder, half size."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[::every]
    frames = [cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2) for path in paths]
    return FocalStack(frames, tuple(path.name for path in paths), frames[0].shape, frames[0].dtype)


@pytest.mark.parametrize("breathing", [0.0, 0.01])
def test_a_shuffled_stack_is_put_in_order(breathing: float) -> None:
    """With and without a change of scale, though the exposure flickers."""
    bench = Bench(near=1, far=8)
    flicker = 1 + 0.05 * np.sin(7.0 * np.arange(10))
    frames = [
        as_type(bench.frame(k, similarity(1 + breathing * k, 0, 0, 0), gain=flicker[k]), "uint8") for k in range(10)
    ]
    shuffled = np.random.default_rng(2).permutation(10)
    order = estimate_order(focal_stack([frames[k] for k in shuffled]))
    assert agreement(order, shuffled) > 0.999


def test_the_direction_is_that_of_the_first_frame() -> None:
    """Frame 0 is in the first half of the order."""
    bench = Bench(near=1, far=6)
    frames = [bench.frame(k, np.eye(3)) for k in range(7)]
    assert estimate_order(focal_stack(frames)) == list(range(7))
    assert estimate_order(focal_stack(frames[::-1])) == list(range(7))


@pytest.mark.parametrize("name", ["pcb_button_breathing", "crab_claw_dslr", "translucent_dome", "leaf_macro"])
def test_real_stacks_are_put_in_order(shared: Path, name: str) -> None:
    """Photographed stacks with breathing, flicker and large blur, shuffled."""
    stack = real_stack(shared / "data" / "stacks" / name)
    shuffled = np.random.default_rng(1).permutation(len(stack))
    assert agreement(estimate_order(stack.subset(shuffled)), shuffled) > 0.98


def test_an_unordered_capture_is_put_in_order(shared: Path) -> None:
    """Frames 1, 11, 13 and 2, 3, 12 of this capture are each of one focus, which only the content tells."""
    order = estimate_order(real_stack(shared / "data" / "stacks" / "pseudoscorpion_unordered"))
    assert order[0] == 0
    assert set(order[1:4]) == {1, 11, 13}
    assert set(order[4:7]) == {2, 3, 12}
    assert order[7:] == [4, 5, 6, 7, 8, 9, 10]


def test_frames_that_show_nothing_do_not_stop_it() -> None:
    """Black frames are put somewhere."""
    frames = [np.zeros((64, 80, 1), np.uint8)] * 4
    assert sorted(estimate_order(focal_stack(frames))) == [0, 1, 2, 3]


def test_the_shortest_path_along_a_line_is_the_line() -> None:
    """Points on a line come back in order, wherever the search starts."""
    x = np.random.default_rng(0).permutation(40).astype(float)
    order = shortest_path(np.abs(x[:, None] - x))
    steps = np.diff(x[order])
    assert (np.abs(steps) == 1).all()
    assert len(set(np.sign(steps))) == 1
