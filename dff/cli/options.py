"""Flags that several commands share: the settings, one flag a field, and lists of names and numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dff.settings import Settings, flag_of


def add_settings(
    parser: argparse.ArgumentParser, *, groups: Sequence[str] | None = None, names: Sequence[str] = ()
) -> None:
    """Add a flag for every field of Settings, grouped as there; or only for some groups and names.

    A flag that is not given leaves nothing behind, so that a preset's value can stand.
    """
    shown: dict[str, Any] = {}
    for spec in fields(Settings):
        meta = spec.metadata
        if groups is not None and meta["group"] not in groups and spec.name not in names:
            continue
        group = shown.setdefault(meta["group"], parser.add_argument_group(meta["group"]))
        text = meta["help"].replace("%", "%%")
        if spec.type == "bool":
            group.add_argument(
                flag_of(spec.name, meta), dest=spec.name, action="store_true", default=argparse.SUPPRESS, help=text
            )
            continue
        default = "" if spec.default is None else f" (default {spec.default})"
        unit = f", {meta['unit']}" if meta["unit"] else ""
        group.add_argument(
            flag_of(spec.name, meta),
            dest=spec.name,
            type=_reader(str(spec.type)),
            default=argparse.SUPPRESS,
            choices=meta["choices"] or None,
            metavar=None if meta["choices"] else _metavar(spec.name, meta["unit"]),
            help=f"{text}{unit}{default}",
        )


def _reader(annotation: str) -> Any:
    return {"int": int, "float": float}.get(annotation.split(" | ")[0], str)


def _metavar(name: str, unit: str) -> str:
    return unit.upper() if unit else name.split("_")[-1].upper()


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings a parsed command line asks for."""
    given = given_settings(options)
    return Settings.of(given.pop("preset", None), **given)


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on a parsed command line, by name."""
    return {spec.name: getattr(options, spec.name) for spec in fields(Settings) if hasattr(options, spec.name)}


def add_moved_frames(parser: argparse.ArgumentParser) -> None:
    """Add --frames, for results whose source frames are no longer where they were."""
    parser.add_argument("--frames", metavar="PATH", help="folder or file the source frames are in, if they were moved")


def sources(arguments: list[str]) -> str | list[str]:
    """What a stack is read from: one name, or the files that were listed."""
    return arguments[0] if len(arguments) == 1 else arguments


def name_list(text: str) -> list[str]:
    """The names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def number_list(flag: str, text: str) -> list[float]:
    """The numbers of a list with commas.

    Raises:
        ValueError: something else stands there; the line names the flag.
    """
    try:
        return [float(name) for name in name_list(text)]
    except ValueError as error:
        raise ValueError(f"{flag}: must be numbers; got {text!r}; give for example 2,6") from error
