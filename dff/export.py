"""Networks as files for other programs: TorchScript, ONNX and TensorRT engines.

A file takes luminance from 0 to 1, of any number of pictures of any size that its network's lattice divides, and gives
what the network itself gives: log-probabilities of the frames, mask logits or a fused luminance. Tiles, and what
follows along the stack, are the caller's. Every file is read back and compared with the network before it is kept.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dff import filters
from dff.focus import weight_files
from dff.focus.drpl import Drpl
from dff.focus.fusegan import STRIDE as FUSEGAN_STRIDE
from dff.focus.fusegan import FuseGan
from dff.focus.measure import CELL
from dff.focus.mffgan import MffGan
from dff.focus.sesf import ENERGY_FLOOR, Sesf, feature_frequency
from dff.focus.sesf_stack import SesfStack
from dff.focus.sesf_vgg import STRIDE as VGG_STRIDE
from dff.focus.sesf_vgg import SesfVgg
from dff.io.atomic import atomic_path

FORMATS = {"torchscript": ".pt", "onnx": ".onnx", "tensorrt": ".engine"}
"""Kinds of files and the endings of their names."""
TOLERANCE = 1e-3
"""Largest difference to the network, as a share of the range of its answers."""
LEAST_PX, USUAL_PX, LARGEST_PX = 64, 512, 1024
"""Sides of the pictures that a TensorRT engine is built for."""
INPUT, OUTPUT = "images", "answer"


class SpatialFrequency(nn.Module):
    """(N, 1, H, W) → (N, H, W): what SESF-Fuse measures with the features of its encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Sesf()

    def forward(self, images: Tensor) -> Tensor:
        """Logarithm of the spatial frequency of the features."""
        return (feature_frequency(self.network.features(images)) + ENERGY_FLOOR).log()


@dataclass(frozen=True)
class Exportable:
    """A network and the shape of what it is given."""

    network: Callable[..., nn.Module]
    answer: str
    """What it gives, in words."""
    multiple: int = 1
    """What the sides of the pictures are multiples of."""
    pairs: bool = False
    """Whether it is given pairs (B, 2, H, W) rather than frames (N, 1, H, W)."""

    def shape(self, count: int, side_px: int) -> tuple[int, int, int, int]:
        """Shape of so many pairs or frames of about that side, not square."""
        height, width = (-(-side // self.multiple) * self.multiple for side in (side_px, side_px + 16))
        return count, 2 if self.pairs else 1, height, width


EXPORTABLE = {
    "sesf-stack": Exportable(SesfStack, "(N, H, W) logarithm of each frame's probability", CELL),
    "sesf": Exportable(SpatialFrequency, "(N, H, W) logarithm of the spatial frequency of the features"),
    "sesf-vgg": Exportable(SesfVgg, "(N, H, W) logits of the frames", VGG_STRIDE),
    "drpl": Exportable(Drpl, "(B, 2, H, W) logits of both masks", pairs=True),
    "fusegan": Exportable(FuseGan, "(B, H, W) log-odds that the first is the sharper", FUSEGAN_STRIDE, pairs=True),
    "mffgan": Exportable(MffGan, "(B, H, W) fused luminance", pairs=True),
}
"""Networks by name."""


@dataclass(frozen=True)
class Export:
    """A file that was written."""

    path: Path
    answer: str
    """What it gives, in words."""
    difference: float | None
    """Largest difference to the network, as a share of the range of its answers; None where it could not be run."""

    def __str__(self) -> str:
        checked = "not compared" if self.difference is None else f"as the network to {self.difference:.0e} of the range"
        return f"{self.path}: {self.answer}; {checked}"


def export_network(
    name: str, path: str | Path, *, kind: str, weights: str | Path | None = None, force: bool = False
) -> Export:
    """Write a network as a file for other programs.

    Args:
        name: Name of the network.
        path: File to write.
        kind: torchscript, onnx or tensorrt.
        weights: A weight file; the one that comes with the package if not given.
        force: Replace an existing file.

    Raises:
        FileExistsError: the file is there already.
        ValueError: an unknown name or kind, or a file that does not answer as the network does.
        ImportError: a package or a GPU that the kind needs is missing.
    """
    if name not in EXPORTABLE:
        raise ValueError(f"NAME: must be one of {', '.join(EXPORTABLE)}; got {name!r}; choose one of them")
    if kind not in FORMATS:
        raise ValueError(f"--format: must be one of {', '.join(FORMATS)}; got {kind!r}; choose one of them")
    if Path(path).exists() and not force:
        raise FileExistsError(f"{path}: must not exist; got a file or folder; choose another name or use --force")
    _require(kind)
    exportable, network = EXPORTABLE[name], loaded(name, weights)
    write, run = WRITERS[kind]
    with atomic_path(path) as part, torch.enable_grad():
        write(network, exportable, part)
        difference = _difference(network, exportable, run, part) if run else None
    return Export(Path(path), exportable.answer, difference)


def loaded(name: str, weights: str | Path | None = None) -> nn.Module:
    """The network with its weights, on the processor, without gradients."""
    if name != "sesf":
        return weight_files.loaded(name, EXPORTABLE[name].network, path=weights)
    network = SpatialFrequency()
    network.network = weight_files.loaded(name, Sesf, path=weights)
    return network.eval()


def made_up_stack(exportable: Exportable, count: int, side_px: int) -> Tensor:
    """Textured pictures, each sharper than the one before, in the shape that a network takes."""
    batch, channels, height, width = exportable.shape(count, side_px)
    texture = torch.rand((1, height, width), generator=torch.Generator().manual_seed(0))
    frames = [filters.gaussian(texture, 0.5 + 0.5 * k) for k in range(batch * channels)]
    return torch.stack(frames).view(batch, channels, height, width)


def _require(kind: str) -> None:
    """Raise one line that says what is missing."""
    packages = {"torchscript": (), "onnx": ("onnx", "onnxscript"), "tensorrt": ("onnx", "onnxscript", "tensorrt")}[kind]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        cure = '"dff[onnx]"' if kind == "onnx" else '"dff[onnx]" tensorrt'
        raise ImportError(f"--format {kind}: needs {', '.join(missing)}; got none; install with pip install {cure}")
    if kind == "tensorrt" and not torch.cuda.is_available():
        raise ImportError("--format tensorrt: an engine is built on the GPU it is for; got none; export onnx instead")


def _difference(network: nn.Module, exportable: Exportable, run: Callable[[Path], Runner], path: Path) -> float:
    """Largest difference to the network on stacks of other sizes than that it was exported with.

    Raises:
        ValueError: it is larger than TOLERANCE.
    """
    answers, largest = run(path), 0.0
    for count, side_px in ((2, LEAST_PX), (5, LEAST_PX + 48)):
        images = made_up_stack(exportable, count, side_px)
        wanted = network(images).detach().numpy()
        largest = max(largest, float(np.abs(answers(images.numpy()) - wanted).max() / np.ptp(wanted)))
    if not largest <= TOLERANCE:
        raise ValueError(
            f"{path.name}: must answer as the network to {TOLERANCE:g} of its range; got {largest:.2g}; "
            "export with another release of torch"
        )
    return largest


Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def write_torchscript(network: nn.Module, exportable: Exportable, path: Path) -> None:
    """Write what the network computes as TorchScript."""
    with warnings.catch_warnings():
        # Tracing is deprecated, not removed; sizes that Python sees are compared afterwards.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(network, made_up_stack(exportable, 3, LEAST_PX + 16), check_trace=False)
        torch.jit.save(traced, str(path))


def run_torchscript(path: Path) -> Runner:
    """What a TorchScript file answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(str(path))

    def answer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        found: Tensor = network(torch.from_numpy(images))
        return found.detach().numpy()

    return answer


def write_onnx(network: nn.Module, exportable: Exportable, path: Path) -> None:
    """Write the network as ONNX, with number and sides of the pictures left open."""
    count, height, width = (torch.export.Dim(name, min=2) for name in ("count", "rows", "columns"))
    sides = {2: exportable.multiple * height, 3: exportable.multiple * width}
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (made_up_stack(exportable, 3, LEAST_PX + 16),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: count, **sides},),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ValueError(f"{path.name}: torch gave no ONNX program; got None; export with another release of torch")
    program.save(str(path), external_data=False)


def run_onnx(path: Path) -> Runner:
    """What an ONNX file answers on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {INPUT: images})[0]
        return found

    return answer


def write_tensorrt(network: nn.Module, exportable: Exportable, path: Path) -> None:
    """Build a TensorRT engine for this machine's GPU, by way of ONNX.

    Raises:
        ValueError: TensorRT refuses the network.
    """
    import tensorrt

    write_onnx(network, exportable, path)
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    definition = builder.create_network(0)
    parser = tensorrt.OnnxParser(definition, builder.logger)
    if not parser.parse(path.read_bytes()):
        raise ValueError(f"{path.name}: TensorRT must know every layer; got {parser.get_error(0)}; export onnx instead")
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    shapes = [exportable.shape(count, side) for count, side in ((2, LEAST_PX), (16, USUAL_PX), (64, LARGEST_PX))]
    profile.set_shape(INPUT, *shapes)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(definition, config)
    if engine is None:
        raise ValueError(f"{path.name}: TensorRT must build an engine; got none; export onnx and see what trtexec says")
    path.write_bytes(engine)


def run_tensorrt(path: Path) -> Runner:
    """What a TensorRT engine answers."""
    import tensorrt

    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()

    def answer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        given = torch.from_numpy(images).cuda()
        context.set_input_shape(INPUT, given.shape)
        found = torch.empty(tuple(context.get_tensor_shape(OUTPUT)), device="cuda")
        context.set_tensor_address(INPUT, given.data_ptr())
        context.set_tensor_address(OUTPUT, found.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
        return found.cpu().numpy()

    return answer


def _onnx_runner() -> Callable[[Path], Runner] | None:
    return run_onnx if importlib.util.find_spec("onnxruntime") else None


WRITERS: dict[str, tuple[Callable[[nn.Module, Exportable, Path], None], Callable[[Path], Runner] | None]] = {
    "torchscript": (write_torchscript, run_torchscript),
    "onnx": (write_onnx, _onnx_runner()),
    "tensorrt": (write_tensorrt, run_tensorrt),
}
"""How a kind of file is written, and how it is run where that is possible."""
