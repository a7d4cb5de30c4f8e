"""Which files make up a stack: from a folder, a pattern, a list of names, or one file."""

from __future__ import annotations

import glob
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from dff.io.checks import FrameError
from dff.io.formats import KINDS, kind_of, read_header

PREFERENCE = ("raw", "tiff", "png", "bmp", "webp", "jpeg")
"""Kinds of frames, the best first."""

_THUMBNAIL = re.compile(r"(^thumb(nail)?s?[_\-. ])|([_\-. ]thumb(nail)?s?\.[^.]+$)", re.IGNORECASE)


def natural_key(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sorting key that puts image2 before image10, letters of either case alike."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part], str(path)


def list_files(source: str | Path | Sequence[str | Path], *, skip_bad: bool = False) -> list[Path]:
    """The image files of a stack; those of a folder or pattern in natural order, a list in its own.

    Raises:
        OSError: there is no such path.
        ValueError: nothing there can be read, or the files are of several kinds.
    """
    if not isinstance(source, (str, Path)):
        return [_existing(Path(item)) for item in source]
    path = Path(source)
    if path.is_dir():
        return _in_folder(path, skip_bad)
    if path.exists() or not glob.has_magic(str(source)):
        return [_existing(path)]
    found = [Path(name) for name in glob.glob(str(source), recursive=True)]
    frames = sorted((file for file in found if _is_frame(file)), key=natural_key)
    if not frames:
        raise FileNotFoundError(f"{source}: pattern must match image files; got {len(found)} others; check the pattern")
    return frames


def list_stacks(folder: str | Path) -> dict[str, Path]:
    """The focal stacks below a folder, by their path in it: folders of frames, TIFF files of many pages, videos.

    Hidden folders and result folders are passed over.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    base = Path(folder)
    if not base.is_dir():
        raise FileNotFoundError(f"{base}: must be a folder of stacks; got no such folder; check the name")
    return {str(path.relative_to(base)): path for path in _stacks_in(base, top=True)}


def _stacks_in(folder: Path, *, top: bool = False) -> list[Path]:
    inside = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_key)
    files = [path for path in inside if _is_frame(path)]
    if (folder / "reconstruction.json").exists():
        return []
    whole = [path for path in files if _is_stack(path)]
    if whole or top or not files:
        deeper = (stack for path in inside if path.is_dir() for stack in _stacks_in(path))
        return [*whole, *deeper]
    return [folder]


def _is_stack(path: Path) -> bool:
    kind = kind_of(path)
    try:
        return kind == "video" or (kind == "tiff" and read_header(path).pages > 1)
    except FrameError:
        return False


def files_of(stack: str | Path) -> list[Path]:
    """Every file of a stack: itself, or all in its folder."""
    path = Path(stack)
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: must exist; got no such file or folder; check the name")
    return path


def _is_frame(path: Path) -> bool:
    hidden = path.name.startswith(".") or _THUMBNAIL.search(path.name)
    return not hidden and kind_of(path) is not None and path.is_file()


def _in_folder(folder: Path, skip_bad: bool) -> list[Path]:
    try:
        every = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise type(error)(f"{folder}: must be readable; got {error.strerror!r}; change its permissions") from error
    files = [file for file in every if _is_frame(file)]
    if not files:
        raise ValueError(f"{folder}: must hold image files; got {_contents(every)}; name the folder of the frames")
    kinds: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        kinds[KINDS[file.suffix.lower()]].append(file)
    videos = kinds.pop("video", [])
    if not kinds:
        return videos
    return next(iter(kinds.values())) if len(kinds) == 1 else _one_kind(folder, kinds, skip_bad)


def _one_kind(folder: Path, kinds: dict[str, list[Path]], skip_bad: bool) -> list[Path]:
    """The files of the best kind, where the same shots are there in several."""
    from dff.io import raw

    order = [kind for kind in PREFERENCE if kind in kinds and (kind != "raw" or raw.is_available())]
    shots = {kind: {file.stem.lower() for file in files} for kind, files in kinds.items()}
    chosen = order[0]
    counts = ", ".join(f"{len(kinds[kind])} {kind}" for kind in PREFERENCE if kind in kinds)
    if any(shots[kind] != shots[chosen] for kind in kinds):
        if not skip_bad:
            raise ValueError(
                f"{folder}: frames must be of one kind; got {counts}; name them by a pattern such as "
                f"{folder / ('*' + kinds[chosen][0].suffix)}"
            )
        chosen = max(order, key=lambda kind: len(kinds[kind]))
    warnings.warn(f"{folder}: holds {counts}; the {chosen} files are used", stacklevel=2)
    return kinds[chosen]


def _contents(files: Sequence[Path]) -> str:
    """What is in a folder, in a few words."""
    endings = Counter("folders" if file.is_dir() else file.suffix.lower() or "no ending" for file in files)
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4)) or "nothing"
