"""Weight files of the networks: safetensors with a JSON card beside each, checked before use.

The card tells what trained the weights and carries the file's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent / "weights"

Network = TypeVar("Network", bound=nn.Module)


def loaded(name: str, build: Callable[..., Network], *, path: str | Path | None = None) -> Network:
    """A network ready for use: built as the card beside its weights says, without gradients.

    Args:
        name: Name of the network.
        build: Makes it; called with the card's "options", such as a width, if it has any.
        path: A weight file; the one that comes with the package if not given.

    Raises:
        ValueError: no such file, a damaged one, or weights of another network.
    """
    options = options_of(name, path)
    try:
        network = build(**options)
    except TypeError:
        raise ValueError(
            f"{_file_of(name, path)}: options of its card must be those of {name}; got {', '.join(options)}; "
            f"give a file made by `dff train {name}`"
        ) from None
    network.load_state_dict(load_weights(name, network.state_dict(), path=path))
    return network.eval().requires_grad_(False)


def _file_of(name: str, path: str | Path | None) -> Path:
    return Path(path) if path is not None else FOLDER / f"{name}.safetensors"


def options_of(name: str, path: str | Path | None = None) -> dict[str, Any]:
    """What the card says the network was built with; nothing where there is no card to read, which is refused later.

    Args:
        name: Name of the network.
        path: A weight file; the one that comes with the package if not given.
    """
    try:
        card = json.loads(card_path(_file_of(name, path)).read_text(encoding="utf-8"))
        return dict(card.get("options", {})) if card.get("network", name) == name else {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def load_weights(
    name: str, expected: Mapping[str, Tensor], *, path: str | Path | None = None, complete: bool = True
) -> dict[str, Tensor]:
    """Weights of a network, in float32.

    Args:
        name: Name of the network.
        expected: Tensors of the network, whose names and shapes the file must have.
        path: A weight file; the one that comes with the package if not given.
        complete: Whether the file must have all of them; a file of an older, smaller network has not.

    Raises:
        ValueError: no such file, a checksum that differs from the card's, or weights of another network.
    """
    file = _file_of(name, path)
    if not file.is_file():
        raise ValueError(f"{file}: weights of {name} must be there; got no file; make them with `dff train {name}`")
    data = file.read_bytes()
    _check_sum(file, data)
    tensors = _parse(file, data)
    if not complete:
        expected = {key: tensor for key, tensor in expected.items() if key in tensors}
    _check_shapes(file, name, tensors, expected)
    return {key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()}


def save_weights(
    path: str | Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any], *, dtype: torch.dtype = torch.float16
) -> None:
    """Write weights and their card.

    Args:
        path: File to write, ending in .safetensors; the card gets the same name and .json.
        tensors: The network's tensors.
        card: What the card tells; the SHA-256 is added.
        dtype: Type the weights are kept in.
    """
    from safetensors.torch import save

    kept = {key: _stored(tensor.detach().cpu(), dtype).contiguous() for key, tensor in tensors.items()}
    data = save(kept)
    Path(path).write_bytes(data)
    full = {**card, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    card_path(path).write_text(json.dumps(full, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In the type that weights are kept in; whole numbers stay whole numbers."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def card_path(path: str | Path) -> Path:
    """Where the card of a weight file is."""
    return Path(path).with_suffix(".json")


def _check_sum(file: Path, data: bytes) -> None:
    card = card_path(file)
    if not card.is_file():
        raise ValueError(f"{file}: a weight file needs its card {card.name}; got none; copy both files together")
    try:
        wanted = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{card}: must be JSON with a sha256; got something else; copy the card anew") from None
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise ValueError(
            f"{file}: SHA-256 must be {str(wanted)[:12]}... as its card says; got {found[:12]}...; copy the file anew"
        )


def _parse(file: Path, data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(data))
    except SafetensorError as error:
        raise ValueError(f"{file}: must be a safetensors file; got {error}; copy the file anew") from None


def _check_shapes(file: Path, name: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for key in sorted(expected.keys() | tensors.keys()):
        wanted = tuple(expected[key].shape) if key in expected else "nothing"
        found = tuple(tensors[key].shape) if key in tensors else "nothing"
        if wanted != found:
            raise ValueError(
                f"{file}: weights must be those of {name}; got {found} for {key} where {wanted} belongs; "
                f"give a file made by `dff train {name}`"
            )
    bad = [key for key, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if bad:
        raise ValueError(f"{file}: weights must be finite; got NaN or infinity in {bad[0]}; train anew")
