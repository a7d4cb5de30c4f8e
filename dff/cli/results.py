"""`dff convert`, `dff compare` and `dff apply`: what is done with result folders."""

from __future__ import annotations

import argparse
from typing import Any

from dff.cli.options import add_moved_frames, add_settings, given_settings
from dff.cli.report import progress, say


def add_convert(commands: Any) -> None:
    """Add `dff convert`."""
    parser = commands.add_parser(
        "convert",
        help="a result in another format",
        description="Write the surface of a result in another format, or selected otherwise.",
        epilog="example: dff convert result -o part.glb --max-faces 200000",
    )
    parser.add_argument("result", help="result folder")
    parser.add_argument("-o", "--output", required=True, help=".ply, .xyz, .obj, .glb, .stl, or .npy for coordinates")
    parser.add_argument("--as", dest="kind", choices=("points", "mesh"), help="what a .ply file holds (default points)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_settings(parser, groups=("surface",))
    parser.set_defaults(command=convert)


def add_compare(commands: Any) -> None:
    """Add `dff compare`."""
    parser = commands.add_parser(
        "compare",
        help="noise of two results of one object",
        description="Bring two results of one object together and write the map of their noise.",
        epilog="example: dff compare first-scan second-scan -o noise",
    )
    parser.add_argument("first", help="result folder; the noise map has its pixels")
    parser.add_argument("second", help="another result folder of the same object")
    parser.add_argument("-o", "--output", required=True, help="folder for noise.tif, noise.png and comparison.json")
    parser.add_argument("--force", action="store_true", help="replace an earlier comparison")
    motions = ("none", "translation", "similarity", "affine")
    parser.add_argument("--motion", choices=motions, default="similarity", help="sideways motion that is undone")
    parser.add_argument("--fit-scale", action="store_true", help="let the heights of the second be scaled")
    parser.add_argument("--min-confidence", type=float, default=0.5, metavar="P", help="least confidence (default 0.5)")
    parser.set_defaults(command=compare)


def add_apply(commands: Any) -> None:
    """Add `dff apply`."""
    parser = commands.add_parser(
        "apply",
        help="what was painted in the viewer becomes picture, depth, cloud and mesh",
        description="Apply the edits.json of a result; without edits, bring the untouched result back.",
        epilog="example: dff apply result",
    )
    parser.add_argument("result", help="result folder")
    add_moved_frames(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and which frames it needs")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=apply)


def convert(options: argparse.Namespace) -> int:
    """`dff convert`: a result in another format."""
    from dff import io, pipeline

    settings = io.read_reconstruction(options.result).settings.but(**given_settings(options))
    path = pipeline.convert_result(options.result, options.output, settings, kind=options.kind, force=options.force)
    say(str(path))
    return 0


def compare(options: argparse.Namespace) -> int:
    """`dff compare`: noise of two results."""
    from dff.benchmark import compare_folders

    told = compare_folders(
        options.first,
        options.second,
        options.output,
        motion=options.motion,
        fit_scale=options.fit_scale,
        min_confidence=options.min_confidence,
        force=options.force,
    )
    say(told)
    return 0


def apply(options: argparse.Namespace) -> int:
    """`dff apply`: what was painted on a result."""
    from dff import pipeline

    say(pipeline.describe_edits(options.result))
    if options.dry_run:
        return 0
    with progress(options.quiet) as on_progress:
        result = pipeline.apply_edits(options.result, frames=options.frames, on_progress=on_progress)
    say(f"known      {100 * result.depth.known.mean():.1f} % of the pixels\nresult     {options.result}")
    return 0
