"""Torchvision's ImageNet weights of VGG16, for those who can download them: the one place that imports torchvision."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import torch
from torch import Tensor

_SCHEMA = "{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_ATTEMPTS = 4


def imported_torchvision() -> ModuleType:
    """Torchvision, also where its compiled operators were built for another torch.

    Beside a torch without CUDA the usual wheel stops at operators that it never registered; they are declared here,
    without a body, and stay unusable.

    Raises:
        ValueError: torchvision is not installed, or stops for another reason.
    """
    for _ in range(_ATTEMPTS):
        try:
            import torchvision
        except RuntimeError as error:
            _declare(error)
        except ImportError as error:
            raise _unusable(error) from None
        else:
            return torchvision
    raise _unusable("operators that cannot be declared")


def _declare(error: RuntimeError) -> None:
    missing = _MISSING.search(str(error))
    if missing is None:
        raise _unusable(error) from None
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    _libraries.append(torch.library.Library("torchvision", "FRAGMENT"))
    _libraries[-1].define(_SCHEMA.format(name=missing.group(1)))


_libraries: list[torch.library.Library] = []
"""Kept alive: with a library its operators go."""


def _unusable(reason: object) -> ValueError:
    told = " ".join(str(reason).split())
    return ValueError(
        f"--encoder-weights: imagenet needs torchvision; got {told}; install torchvision or leave the option out"
    )


def vgg16_features(layers: int) -> dict[str, Tensor]:
    """Weights of the first layers of torchvision's VGG16 `features`, downloaded once into torch's cache.

    Args:
        layers: How many of them.

    Raises:
        ValueError: torchvision cannot be used, or the weights cannot be downloaded.
    """
    models = imported_torchvision().models
    try:
        network = models.vgg16(weights=models.VGG16_Weights.IMAGENET1K_V1, progress=False)
    except (OSError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"--encoder-weights: imagenet must be downloaded once; got {told}; "
            "go online, copy the file into torch's cache, or leave the option out"
        ) from None
    kept: dict[str, Tensor] = network.features[:layers].state_dict()
    return kept
