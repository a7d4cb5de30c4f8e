"""`dff align`, `dff fuse` and `dff info`: frames without depth."""

from __future__ import annotations

import argparse
from typing import Any

from dff.cli.options import add_settings, settings_from, sources
from dff.cli.report import progress, say
from dff.settings import FUSION_MODEL, PRESETS


def add_align(commands: Any) -> None:
    """Add `dff align`."""
    parser = commands.add_parser(
        "align",
        help="frames registered onto each other, for other programs",
        description="Write the frames moved onto the reference frame, and alignment.json.",
        epilog="example: dff align frames/ -o aligned, then dff reconstruct frames/ --alignment aligned/alignment.json",
    )
    parser.add_argument("stack", nargs="+", help="folder, files, glob pattern, multi-page TIFF or video")
    parser.add_argument("-o", "--output", required=True, help="folder for the frames and alignment.json")
    parser.add_argument("--force", action="store_true", help="replace frames that were aligned before")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_settings(parser, groups=("frames", "alignment", "running"), names=("z_file", "jpeg_quality"))
    parser.set_defaults(command=align)


def add_fuse(commands: Any) -> None:
    """Add `dff fuse`."""
    parser = commands.add_parser(
        "fuse",
        help="two or more frames to one sharp picture, without depth",
        description="Fuse frames of one subject into one sharp picture by a network or an operator.",
        epilog="example: dff fuse near.jpg far.jpg --model drpl -o sharp.jpg",
    )
    parser.add_argument("frames", nargs="+", metavar="FRAME", help="files, the nearest first; or a folder of them")
    parser.add_argument("-o", "--output", required=True, help="picture to write: .jpg, .png or .tif")
    parser.add_argument("--model", help=f"what decides: see `dff measures` (default {FUSION_MODEL}, or the preset's)")
    parser.add_argument("--force", action="store_true", help="replace an existing picture")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_settings(
        parser,
        groups=("preset", "alignment", "network", "running"),
        names=("order", "fusion", "soft_skin", "jpeg_quality"),
    )
    parser.set_defaults(command=fuse)


def add_info(commands: Any) -> None:
    """Add `dff info`."""
    parser = commands.add_parser("info", help="what a stack is: frames, size, metadata, geometry")
    parser.add_argument("stack", nargs="+", help="folder, files, glob pattern, multi-page TIFF or video")
    parser.add_argument("--quick", action="store_true", help="do not look into the frames for what they can measure")
    parser.add_argument(
        "--f-number", type=float, metavar="N", help="f-number set on the lens; the default is the files'"
    )
    add_settings(parser)
    parser.set_defaults(command=info)


def align(options: argparse.Namespace) -> int:
    """`dff align`: frames registered onto each other."""
    settings = settings_from(options)
    from dff import pipeline

    stack = pipeline.open_stack(sources(options.stack), settings)
    with progress(options.quiet) as on_progress:
        found = pipeline.align_to_folder(stack, options.output, settings, force=options.force, on_progress=on_progress)
    say(f"{options.output}: {len(found)} frames, registered to {found.residual_rms_px:.2f} px rms")
    return 0


def fuse(options: argparse.Namespace) -> int:
    """`dff fuse`: one sharp picture."""
    settings = settings_from(options)
    preset = PRESETS[settings.preset].model if settings.preset else FUSION_MODEL
    settings = settings.but(measure=options.model or preset)
    from dff import pipeline

    stack = pipeline.open_stack(sources(options.frames), settings)
    with progress(options.quiet) as on_progress:
        path = pipeline.fuse_to_file(stack, options.output, settings, force=options.force, on_progress=on_progress)
    say(f"{path}: {len(stack)} frames fused by {settings.measure}")
    return 0


def info(options: argparse.Namespace) -> int:
    """`dff info`: what a stack is, and what it can measure."""
    from dff import advice, pipeline

    settings = settings_from(options)
    stack = pipeline.open_stack(sources(options.stack), settings)
    say(pipeline.describe(stack, settings, None))
    say(pipeline.needs(pipeline.plan_for(stack, settings), stack, settings))
    if not options.quick:
        geometry = stack.geometry or pipeline.resolve_geometry(stack, settings)
        optics = {"f_number": options.f_number, "pixel_pitch_mm": settings.pixel_pitch_mm}
        say(advice.advice(advice.assess(stack, geometry, window_sigma_px=settings.window_sigma_px, **optics)))
    return 0
