"""Networks made narrower: what is left out is what the rest can say as well, and every width gives answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dff.focus import load_measure, weight_files
from dff.focus.measure import CELL
from dff.focus.sesf_stack import COLUMNS, IN_LOOPS, SesfStack
from dff.training import narrow

FRAMES, SIZE_PX = 7, 32
WIDE = weight_files.FOLDER / "sesf-stack-2.safetensors"

pytestmark = pytest.mark.usefixtures("one_thread")


def _stack(seed: int) -> torch.Tensor:
    """(N, H, W) of frames that differ in sharpness from place to place."""
    random = np.random.default_rng(seed)
    sharp = torch.from_numpy(random.random((1, 1, SIZE_PX, SIZE_PX), np.float32))
    soft = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    share = torch.from_numpy(random.random((FRAMES, 1, SIZE_PX, SIZE_PX), np.float32))
    return (share * sharp + (1 - share) * soft)[:, 0]


def _with_idle_channels(random: np.random.Generator) -> SesfStack:
    """The wide network, some of whose channels are listened to by nobody."""
    network = weight_files.loaded("sesf-stack", SesfStack, path=WIDE)
    idle = random.permutation(len(network.bank))[narrow.FILTERS :].copy()
    network.stem.weight[:, idle] = 0
    for block in network.blocks:
        idle = random.permutation(block.out.in_channels)[narrow.MIXED :].copy()  # type: ignore[union-attr, arg-type]
        block.out.weight[:, idle] = 0  # type: ignore[union-attr, index, operator]
    return network


def test_channels_that_others_stand_in_for_are_left_out_at_no_loss() -> None:
    """Of channels of which half are sums of the others, half are kept and the answers stay."""
    random = np.random.default_rng(0)
    own = torch.from_numpy(random.normal(size=(400, 4)))
    shown = torch.cat([own, own @ torch.from_numpy(random.normal(size=(4, 4)))], 1)[:, random.permutation(8)]
    layer = torch.from_numpy(random.normal(size=(5, 9)))
    moments = narrow.Moments()
    moments.add(shown)
    kept, weights, error = moments.kept(layer, 4, 8)
    asked = shown @ layer[:, :-1].T + layer[:, -1]
    assert len(kept) == 4
    assert error < 1e-5
    assert torch.allclose(shown[:, kept] @ weights[:, :-1].T.double() + weights[:, -1], asked, atol=1e-3)


def test_channels_that_may_not_be_left_out_stay() -> None:
    """Only candidates are left out, and first those that say least."""
    random = np.random.default_rng(1)
    moments = narrow.Moments()
    moments.add(torch.from_numpy(random.normal(size=(500, 6)) * [1, 0.01, 1, 0.02, 0.001, 0.001]))
    kept, _, error = moments.kept(torch.ones(2, 7), 2, 4)
    assert kept == [0, 2, 4, 5]
    assert 0 < error < 1e-2


def test_without_idle_channels_the_network_says_the_same() -> None:
    """Filters and mixtures that nobody listens to are those that go, and their places are kept in order."""
    wide = _with_idle_channels(np.random.default_rng(2))
    found, errors = narrow.narrowed(wide, [_stack(seed) for seed in range(6)])
    assert found.options == {"filters_in_bank": narrow.FILTERS, "mixed": narrow.MIXED}
    assert max(errors.values()) < 1e-5
    stack = _stack(9)[:, None]
    with torch.no_grad():
        assert torch.allclose(found(stack).exp(), wide(stack).exp(), atol=5e-3)


def test_the_command_writes_a_network_that_measures(
    collages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights and card of a narrow network are made from those of a wide one and some scenes."""
    narrow.main(str(WIDE), str(collages), str(tmp_path / "narrow.safetensors"))
    assert "block 0: 0.0" in capsys.readouterr().out
    measure = load_measure("sesf-stack", weights=str(tmp_path / "narrow.safetensors"))
    assert measure.rows is not None
    assert torch.isfinite(measure(_stack(4)[:, None])).all()


def test_loops_are_as_wide_as_the_network_that_comes_with_the_package() -> None:
    """What loops are written for, what chooses them and what is shipped agree."""
    from dff.focus.stack_scratch import BANK, MIXED, SITES

    assert {"filters_in_bank": BANK, "mixed": MIXED} == IN_LOOPS == weight_files.options_of("sesf-stack")
    assert SITES * CELL == COLUMNS


def test_wide_networks_decide_in_tensors() -> None:
    """Weights of another width than loops have are used all the same, and find the same frames."""
    wide, shipped = load_measure("sesf-stack", weights=str(WIDE)), load_measure("sesf-stack")
    assert wide.rows is None
    sharp = np.random.default_rng(7).random((SIZE_PX, 96), np.float32)
    away = np.abs(np.arange(FRAMES)[:, None] - np.linspace(0, FRAMES - 1, 96))
    levels = np.stack([cv2.GaussianBlur(sharp, (0, 0), 0.1 + sigma) for sigma in range(FRAMES)])
    frames = np.stack([levels[np.rint(row).astype(int), :, np.arange(96)].T for row in away])
    stack = torch.from_numpy(frames)[:, None]
    found, expected = shipped(stack).argmax(0), wide(stack).argmax(0)
    assert (found == expected).float().mean() > 0.9
    assert (found == torch.from_numpy(away.argmin(0))).float().mean() > 0.7
