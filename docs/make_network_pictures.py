"""What each network sees: its weights on the demo stack, as one strip of pictures a network; and rules of fusion.

Usage: python docs/make_network_pictures.py [FOLDER]

The folder defaults to docs/images. A strip shows the shares of four frames, dark to bright, the sharpest frame of
every pixel in colour, far to near, and the picture that the network makes of all frames. The last picture has a pair,
fused by the networks' published rules above, blended by what they say below, twice enlarged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import fuse, io, pipeline
from dff.benchmark.cases import aligned_stack
from dff.focus import NETWORKS, focus_volume, load_measure
from dff.preview.lettering import write_text
from dff.settings import DEFAULTS
from dff.stack import FocalStack

ROOT = Path(__file__).parent.parent
CROP = (slice(90, 390), slice(150, 450))
SHOWN = (6, 11, 16, 20)
ENERGY_TEMPERATURE = 0.1
GAP_PX = 6
PAIR = (2, 18)
PAIR_CROP = (slice(230, 360), slice(290, 440))
PAIR_NETWORKS = ("sesf", "sesf-vgg", "drpl", "fusegan")
QUALITY = 88


def main(folder: str = str(Path(__file__).parent / "images")) -> None:
    """Write network-NAME.jpg for every network."""
    stack, _ = aligned_stack(io.read_stack(ROOT / "data" / "demo"))
    images = torch.stack([fuse.frame_tensor(np.ascontiguousarray(stack.frames[k][CROP])) for k in range(len(stack))])
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        path = Path(folder) / f"network-{name}.jpg"
        io.write_image(path, strip(name, images), quality=QUALITY)
        print(path)
    path = Path(folder) / "fusion-rules.jpg"
    io.write_image(path, rules(stack.subset(PAIR)), quality=QUALITY)
    print(path)


def rules(pair: FocalStack) -> NDArray[np.uint8]:
    """The pair by published rules above, blended below."""
    columns = [[shown(pair.frames[k], f"frame {PAIR[k] + 1}") for k in range(2)]]
    for name in PAIR_NETWORKS:
        settings = DEFAULTS.but(measure=name, align="none", brightness="none")
        pictures = [pipeline.fuse_frames(pair, settings.but(fusion=rule)) for rule in ("weighted", "pyramid")]
        columns.append(
            [shown(part, title) for part, title in zip(pictures, (f"{name}, published", f"{name}, blended"))]
        )
    return np.hstack([np.vstack(column) for column in columns])


def shown(picture: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """The crop of a picture at twice its size, with a title."""
    part = np.ascontiguousarray(picture[PAIR_CROP])
    return titled(cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), title)


def strip(name: str, images: Tensor) -> NDArray[np.uint8]:
    """The strip of one network.

    Args:
        name: Name of the network.
        images: (N, 3, H, W).
    """
    measure = load_measure(name)
    volume = focus_volume(images, measure)
    temperature = 1.0 if measure.probabilistic else ENERGY_TEMPERATURE
    share = (volume / temperature).softmax(0)
    picture = measure.picture(images) if measure.generates and measure.picture else blended(images, volume, temperature)
    panels = [titled(grey(share[k]), f"weight of frame {k + 1}") for k in SHOWN]
    panels.append(titled(coloured(volume.argmax(0), len(images)), "sharpest frame"))
    panels.append(titled(eight_bit(picture.permute(1, 2, 0)), "fused picture"))
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255, np.uint8)
    return np.hstack([part for panel in panels for part in (panel, gap)][:-1])


def blended(images: Tensor, volume: Tensor, temperature: float) -> Tensor:
    """(3, H, W) as `dff fuse` blends it: softer weights, among which the detail of a band decides."""
    softer = temperature * fuse.TEMPERATURE["pyramid"] / fuse.TEMPERATURE["weighted"]
    return fuse.all_in_focus(images, volume=volume, temperature=softer)


def grey(plane: Tensor) -> NDArray[np.uint8]:
    """(H, W) 0..1 → (H, W, 3), brightened so that small shares can be seen."""
    return np.repeat(eight_bit(plane.sqrt())[..., None], 3, -1)


def coloured(label: Tensor, count: int) -> NDArray[np.uint8]:
    """(H, W) frame → (H, W, 3)."""
    levels = (255 * (1 - label.numpy() / (count - 1))).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1])


def eight_bit(values: Tensor) -> NDArray[np.uint8]:
    """0..1 → 0..255."""
    return np.rint(values.clamp(0, 1).numpy() * 255).astype(np.uint8)


def titled(panel: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """The panel with its title above."""
    head = np.full((26, panel.shape[1], 3), 255, np.uint8)
    write_text(head, title, (4, 13), size_px=16)
    return np.vstack([head, panel])


if __name__ == "__main__":
    main(*sys.argv[1:])
