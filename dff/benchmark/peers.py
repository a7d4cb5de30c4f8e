"""Other programs, side by side with our methods: run as commands on the same frames, never imported.

Where a program is found: the environment variable of its entry, else PATH. A program that is not there is reported
as not installed; docs/benchmark.md says how to install each.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dff import fuse, io
from dff.benchmark.cost import Cost, measured_command
from dff.benchmark.estimate import Estimate, Method
from dff.focus import stack_filter
from dff.stack import FloatArray, FocalStack


@dataclass(frozen=True)
class Peer:
    """Another program: how it is found, installed and run."""

    name: str
    summary: str
    install: str
    """The command that installs it."""
    programs: Mapping[str, str]
    """Environment variable that names a program, and the name looked for on PATH."""
    run: Callable[[Sequence[Path], Path, Sequence[Path]], Estimate]
    """Called with the programs, the frames' folder and the frames; results go next to the frames' folder."""
    own_alignment: bool = False
    prepare: Callable[[FocalStack], FocalStack] | None = None
    """What is done to the frames before they are written for it; not counted in its cost."""

    def locate(self) -> list[Path] | None:
        """Where its programs are; None where one is missing."""
        found = [_locate(variable, command) for variable, command in self.programs.items()]
        return None if None in found else [path for path in found if path]

    def method(self) -> Method | None:
        """The program as a method; None where it is not installed."""
        programs = self.locate()
        if programs is None:
            return None
        return Method(
            name=self.name,
            summary=self.summary,
            estimate=lambda stack: self._estimate(programs, stack),
            external=True,
            own_alignment=self.own_alignment,
        )

    def _estimate(self, programs: Sequence[Path], stack: FocalStack) -> Estimate:
        with tempfile.TemporaryDirectory(prefix="dff-peer-") as temporary:
            folder = Path(temporary, "frames")
            folder.mkdir()
            if self.prepare:
                stack = self.prepare(stack)
            return self.run(programs, folder, write_frames(stack, folder))


def _locate(variable: str, command: str) -> Path | None:
    named = os.environ.get(variable)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ValueError(f"{variable}: must name a program; got {named!r}; correct the path or unset it")
        return Path(found)
    on_path = shutil.which(command)
    return Path(on_path) if on_path else None


def write_frames(stack: FocalStack, folder: Path) -> list[Path]:
    """Frames as 8 or 16 bit RGB PNG, named in order."""
    paths = []
    for k in range(len(stack)):
        frame = stack.frames[k]
        if not np.issubdtype(frame.dtype, np.integer):
            frame = np.rint(np.clip(frame, 0, 1) * 65535).astype(np.uint16)
        paths.append(folder / f"frame_{k:03d}.png")
        io.write_image(paths[-1], np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame)
    return paths


def filtered_along_stack(stack: FocalStack, sigma_frames: float = 1.0) -> FocalStack:
    """The stack behind the filter along it that our own measures see, so that another program can see the same.

    Args:
        stack: N frames.
        sigma_frames: Standard deviation of the filter in steps.
    """
    images = torch.stack([fuse.frame_tensor(stack.frames[k]) for k in range(len(stack))])
    filtered = stack_filter(np.arange(len(stack)), sigma_frames)(images).clamp(0, 1)
    frames = list(filtered.permute(0, 2, 3, 1).contiguous().numpy())
    return replace(stack, frames=frames, dtype=frames[0].dtype)


def _read_picture(path: Path) -> FloatArray:
    picture = io.read_image(path)
    white = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    return (picture[..., :3] / np.float32(white)).astype(np.float32)


def _read_index(path: Path, frames: int) -> FloatArray:
    """Index of a grey depth picture in which white is the last frame."""
    return _read_picture(path)[..., 0] * np.float32(frames - 1)


_OPENFOCUS = """
import glob, sys
import cv2, numpy as np
from core.depth_map import compute_focus_index
from core.multi_focus_fusion import fuse_images
from fusion_methods.stackmffv3 import model_probabilities
from utils import resource_path

frames = [cv2.imread(path, cv2.IMREAD_UNCHANGED) for path in sorted(glob.glob(sys.argv[1] + "/*.png"))]
if sys.argv[3] == "exported":
    index, mass = compute_focus_index(frames, "stackmffv3") * (len(frames) - 1), None
else:
    weights = resource_path("weights", "stackmff_v3_final.pth")
    share = model_probabilities(frames, weights, False, sigma=0.5)
    position = np.arange(len(frames), dtype=np.float32)[:, None, None]
    near = np.where(np.abs(position - share.argmax(0)) <= 3, share, 0)
    mass = near.sum(0)
    index = (near * position).sum(0) / mass
    np.save(sys.argv[2] + "/confidence.npy", mass.astype(np.float32))
np.save(sys.argv[2] + "/index.npy", index.astype(np.float32))
if sys.argv[4] == "picture":
    cv2.imwrite(sys.argv[2] + "/fused.png", fuse_images(frames, algorithm="stackmffv3"))
"""


def _openfocus(read_out: str, *, picture: bool = True) -> Callable[[Sequence[Path], Path, Sequence[Path]], Estimate]:
    def run(programs: Sequence[Path], folder: Path, frames: Sequence[Path]) -> Estimate:
        work = folder.parent
        words: list[str | Path] = [folder, work, read_out, "picture" if picture else "depth"]
        cost = measured_command([_python_beside(programs[0]), "-c", _OPENFOCUS, *words], folder=work)
        confidence = work / "confidence.npy"
        return Estimate(
            cost=cost,
            index=np.load(work / "index.npy"),
            confidence=np.load(confidence) if confidence.exists() else None,
            all_in_focus=_read_picture(work / "fused.png") if picture else None,
        )

    return run


def _python_beside(program: Path) -> Path:
    """The interpreter of the virtual environment that a program is installed in."""
    python = program.parent / "python"
    return python if python.exists() and not program.name.startswith("python") else program


def _focus_stack(programs: Sequence[Path], folder: Path, frames: Sequence[Path]) -> Estimate:
    work = folder.parent
    options = ["--no-opencl", "--align-keep-size", "--output=fused.png", "--depthmap=depth.png"]
    cost = measured_command([programs[0], *options, *frames], folder=work)
    grey = np.rint(_read_picture(work / "depth.png")[..., 0] * 255)
    index = np.where(grey > 0, grey * len(frames) / 255 - 1, np.nan).astype(np.float32)
    return Estimate(cost=cost, index=index, all_in_focus=_read_picture(work / "fused.png"))


_ENFUSE_OPTIONS = (
    "--exposure-weight=0",
    "--saturation-weight=0",
    "--contrast-weight=1",
    "--hard-mask",
    "--contrast-window-size=5",
    "--gray-projector=l-star",
    "--save-masks=soft_%n.tif:hard_%n.tif",
)


def _enfuse(programs: Sequence[Path], folder: Path, frames: Sequence[Path]) -> Estimate:
    work = folder.parent
    cost = measured_command([programs[0], *_ENFUSE_OPTIONS, "-o", "fused.tif", *frames], folder=work)
    masks = sorted(work.glob("soft_*.tif"))
    shape = io.read_image(frames[0]).shape[:2]
    weights = np.stack([_read_picture(path)[..., 0] for path in masks])
    whole = weights.shape == (len(frames), *shape)
    index = weights.argmax(0).astype(np.float32) if whole else None
    return Estimate(cost=cost, index=index, all_in_focus=_read_picture(work / "fused.tif"))


def _hugin(programs: Sequence[Path], folder: Path, frames: Sequence[Path]) -> Estimate:
    work = folder.parent
    options = ["-m", "-i", "--use-given-order", "-a", "aligned_"]
    alignment = measured_command([programs[1], *options, *frames], folder=work)
    fused = _enfuse(programs, folder, sorted(work.glob("aligned_*.tif")))
    cost = Cost(
        cpu_s=alignment.cpu_s + fused.cost.cpu_s,
        wall_s=alignment.wall_s + fused.cost.wall_s,
        peak_gb=max(alignment.peak_gb, fused.cost.peak_gb),
    )
    return Estimate(cost=cost, index=fused.index, all_in_focus=fused.all_in_focus)


_SHINE_STACKER = """
import sys
from shinestacker.algorithms import DepthMapStack, FocusStack, PyramidStack, StackJob

for name, algorithm in (("picture", PyramidStack()), ("depth", DepthMapStack(plot_depth_map=True))):
    job = StackJob(name, sys.argv[1], input_path="frames")
    job.add_action(FocusStack(name, algorithm))
    job.run()
"""


def _shine_stacker(programs: Sequence[Path], folder: Path, frames: Sequence[Path]) -> Estimate:
    work = folder.parent
    cost = measured_command(
        [_python_beside(programs[0]), "-c", _SHINE_STACKER, work],
        folder=work,
        environment={"QT_QPA_PLATFORM": "offscreen"},
    )
    return Estimate(
        cost=cost,
        index=_read_index(next((work / "plots").glob("*depth-map.png")), len(frames)),
        all_in_focus=_read_picture(next((work / "picture").glob("*.png"))),
    )


_OPENFOCUS_INSTALL = (
    "pip install openfocus 'numpy<2' 'torch<2.14' 'torchvision<0.29'   (a virtual environment of its own)"
)
_HUGIN_INSTALL = "apt install hugin-tools enfuse"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "openfocus",
            "OpenFocus, StackMFF V3 network, depth as the program exports it: expectation over all frames",
            _OPENFOCUS_INSTALL,
            {"DFF_PEER_OPENFOCUS": "openfocus"},
            _openfocus("exported"),
        ),
        Peer(
            "openfocus-windowed",
            "the same network read out within three frames of its peak, which is fairer to it",
            _OPENFOCUS_INSTALL,
            {"DFF_PEER_OPENFOCUS": "openfocus"},
            _openfocus("windowed"),
        ),
        Peer(
            "openfocus-filtered",
            "the same network on frames behind our filter along the stack, as exported; depth only",
            _OPENFOCUS_INSTALL,
            {"DFF_PEER_OPENFOCUS": "openfocus"},
            _openfocus("exported", picture=False),
            prepare=filtered_along_stack,
        ),
        Peer(
            "openfocus-filtered-windowed",
            "the same network on frames behind our filter along the stack, within three frames of its peak; depth only",
            _OPENFOCUS_INSTALL,
            {"DFF_PEER_OPENFOCUS": "openfocus"},
            _openfocus("windowed", picture=False),
            prepare=filtered_along_stack,
        ),
        Peer(
            "focus-stack",
            "focus-stack, complex wavelets; its own alignment cannot be switched off",
            "build from source with OpenCV: make build/focus-stack",
            {"DFF_PEER_FOCUS_STACK": "focus-stack"},
            _focus_stack,
            own_alignment=True,
        ),
        Peer(
            "enfuse",
            "enfuse, local contrast with hard masks; depth is the frame of the largest soft mask",
            "apt install enfuse",
            {"DFF_PEER_ENFUSE": "enfuse"},
            _enfuse,
        ),
        Peer(
            "hugin",
            "align_image_stack, then enfuse as above",
            _HUGIN_INSTALL,
            {"DFF_PEER_ENFUSE": "enfuse", "DFF_PEER_ALIGN_IMAGE_STACK": "align_image_stack"},
            _hugin,
            own_alignment=True,
        ),
        Peer(
            "shine-stacker",
            "Shine Stacker, pyramid picture and the depth map that it plots in 8 bit",
            "pip install shinestacker   (Python 3.12 or later, a virtual environment of its own)",
            {"DFF_PEER_SHINE_STACKER": "shinestacker"},
            _shine_stacker,
        ),
    )
}


def find_peers(names: Sequence[str]) -> tuple[list[Method], list[dict[str, Any]]]:
    """The programs that are installed as methods, and a line for each that is not; "all" names all.

    Raises:
        ValueError: an unknown name.
    """
    names = list(PEERS) if list(names) == ["all"] else names
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise ValueError(
            f"--peers: must be all or among {', '.join(PEERS)}; got {', '.join(unknown)}; correct the name"
        )
    methods, missing = [], []
    for name in names:
        method = PEERS[name].method()
        if method:
            methods.append(method)
        else:
            missing.append({"peer": name, "reason": "not installed", "install": PEERS[name].install})
    return methods, missing
