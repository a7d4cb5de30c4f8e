"""Laws of exported networks: the file answers as the network does, whatever the number and size of the pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from dff import cli, export
from dff.focus import NETWORKS, load_measure


def test_every_network_can_be_exported() -> None:
    """None is left out."""
    assert set(export.EXPORTABLE) == set(NETWORKS)


SLOW = ("drpl", "fusegan")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NETWORKS])
def test_torchscript_answers_as_the_network(name: str, tmp_path: Path) -> None:
    """The file runs without this package's code, for another number and size than it was traced with."""
    path = tmp_path / "network.pt"
    written = export.export_network(name, path, kind="torchscript")
    assert written.difference is not None
    assert written.difference < 1e-4
    exportable = export.EXPORTABLE[name]
    images = export.made_up_stack(exportable, 4, 88)
    answer = export.run_torchscript(path)(images.numpy())
    assert answer.shape[-2:] == images.shape[-2:]
    wanted = export.loaded(name)(images).numpy()
    np.testing.assert_allclose(answer, wanted, atol=1e-4 * np.ptp(wanted))


@pytest.mark.parametrize("name", ["mffgan", *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS[:-1])])
def test_onnx_answers_as_the_network(name: str, tmp_path: Path) -> None:
    """onnxruntime agrees with the network, for numbers and sizes that were left open."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"no {package}: pip install dff[onnx]")
    written = export.export_network(name, tmp_path / "network.onnx", kind="onnx")
    assert written.difference is not None
    assert written.difference < 1e-4


def test_exported_stack_network_is_the_measure(tmp_path: Path) -> None:
    """What a file answers is what the focus measure of the same name gives, but for its mixtures in half precision."""
    path = tmp_path / "network.pt"
    export.export_network("sesf-stack", path, kind="torchscript")
    images = export.made_up_stack(export.EXPORTABLE["sesf-stack"], 5, 64)
    answer = torch.from_numpy(export.run_torchscript(path)(images.numpy()))
    assert torch.allclose(answer.exp(), load_measure("sesf-stack")(images).exp(), atol=3e-3)


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail, and then nothing is left behind."""
    monkeypatch.setitem(
        export.WRITERS, "torchscript", (export.write_torchscript, lambda _: lambda images: np.zeros(1, np.float32))
    )
    with pytest.raises(ValueError, match="must answer as the network"):
        export.export_network("mffgan", tmp_path / "network.pt", kind="torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "NAME: must be one of sesf-stack"),
        (["sesf", "--format", "caffe"], "--format: must be one of torchscript, onnx, tensorrt"),
        (["sesf", "--weights", "no.safetensors"], "no.safetensors"),
    ],
)
def test_wrong_calls_end_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, a line that says what is wrong, and no file."""
    assert cli.main(["export", *arguments, "-o", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the package or a GPU one line tells."""
    if importlib.util.find_spec("tensorrt") and torch.cuda.is_available():
        pytest.skip("TensorRT and a GPU are here")
    assert cli.main(["export", "sesf", "-o", str(tmp_path / "file"), "--format", "tensorrt"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--format tensorrt: " in error


def test_an_existing_file_is_replaced_on_demand_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second export is refused, --force replaces."""
    path = tmp_path / "network.pt"
    path.write_bytes(b"mine")
    assert cli.main(["export", "mffgan", "-o", str(path)]) == 2
    assert path.read_bytes() == b"mine"
    assert "--force" in capsys.readouterr().err
    assert cli.main(["export", "mffgan", "-o", str(path), "--force"]) == 0
    assert path.stat().st_size > 1000
