"""The command line: one subcommand a function, no logic of its own.

Only the standard library and `dff.settings` are imported before a command is chosen, so that help is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from dff.settings import FUSION_MODEL, PRESETS, VERSION, Settings, flag_of

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for input that cannot be used, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    # Idle threads must sleep, not spin: on a busy machine spinning costs more than the work. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = _show_warning
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        goes_on = {"reconstruct": "--resume", "batch": "the same command", "watch": "the same command"}
        way = vars(options).get("resume", True) and goes_on.get(options.command.__name__)
        _say(f"dff: interrupted; {f'{way} goes on from here' if way else 'no unfinished file was left behind'}")
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        _say(f"dff: error: {_one_line(error)}")
        return USAGE_ERROR


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog="dff", description="A focal stack becomes a sharp picture, a metric depth map and a coloured 3D surface."
    )
    parser.add_argument("--version", action="version", version=f"dff {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_reconstruct(commands)
    _add_batch(commands)
    _add_watch(commands)
    _add_align(commands)
    _add_fuse(commands)
    _add_convert(commands)
    _add_info(commands)
    _add_measures(commands)
    _add_compare(commands)
    _add_benchmark(commands)
    _add_simulate(commands)
    _add_train(commands)
    _add_page(commands)
    _add_view(commands)
    _add_render(commands)
    _add_apply(commands)
    return parser


def _add_reconstruct(commands: Any) -> None:
    parser = commands.add_parser(
        "reconstruct",
        help="frames to picture, depth map, point cloud and mesh",
        description="Reconstruct a focal stack into a result folder.",
        epilog="example: dff reconstruct frames/ -o result --step 0.05 --pixel-size 0.004",
    )
    parser.add_argument("stack", nargs="+", help="folder, files, glob pattern, multi-page TIFF or video")
    parser.add_argument("-o", "--output", required=True, help="result folder")
    parser.add_argument("--force", action="store_true", help="replace an existing result")
    parser.add_argument("--resume", action="store_true", help="go on where a killed or interrupted run stopped")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and what it takes")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--view", action="store_true", help="watch the result grow in the browser; Ctrl-C ends")
    _add_browser(parser)
    add_settings(parser)
    parser.set_defaults(command=reconstruct)


def _add_batch(commands: Any) -> None:
    parser = commands.add_parser(
        "batch",
        help="many stacks, on all cores or on a Dask cluster",
        description="Reconstruct every stack below a folder; the same command again goes on where the last stopped.",
        epilog="example: dff batch stacks/ -o results --z-file z.csv",
    )
    parser.add_argument("folder", help="folder of stacks: folders of frames, multi-page TIFF files, videos")
    parser.add_argument("-o", "--output", required=True, help="folder for a result folder a stack, and the table")
    parser.add_argument("--force", action="store_true", help="replace results made of other frames or options")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do it, tcp://host:8786")
    _add_pool(parser, jobs=0, told="as many as cores and memory allow")
    add_settings(parser)
    parser.set_defaults(command=batch)


def _add_watch(commands: Any) -> None:
    parser = commands.add_parser(
        "watch",
        help="new stacks as they arrive",
        description="Reconstruct every stack below a folder once its files have settled, until Ctrl-C.",
        epilog="example: dff watch card/ -o results --step 0.05 --pixel-size 0.004",
    )
    parser.add_argument("folder", help="folder that stacks arrive in")
    parser.add_argument("-o", "--output", required=True, help="folder for a result folder a stack, and the table")
    parser.add_argument(
        "--settle", type=float, default=10, metavar="S", help="files stay as they are so long (default 10)"
    )
    parser.add_argument("--interval", type=float, default=2, metavar="S", help="between looks (default 2)")
    _add_pool(parser, jobs=1, told="1")
    add_settings(parser)
    parser.set_defaults(command=watch)


def _add_pool(parser: argparse.ArgumentParser, *, jobs: int, told: str) -> None:
    parser.add_argument("--jobs", type=int, default=jobs, metavar="N", help=f"stacks at a time (default {told})")
    parser.add_argument(
        "--total-memory", type=float, default=0, metavar="GB", help="memory of all together (default what is free)"
    )
    parser.add_argument("--retries", type=int, default=1, metavar="N", help="further attempts at a stack (default 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_fuse(commands: Any) -> None:
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
        parser, groups=("preset", "alignment", "network", "running"), names=("order", "soft_skin", "jpeg_quality")
    )
    parser.set_defaults(command=fuse)


def _add_align(commands: Any) -> None:
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


def _add_convert(commands: Any) -> None:
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


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="what a stack is: frames, size, metadata, geometry")
    parser.add_argument("stack", nargs="+", help="folder, files, glob pattern, multi-page TIFF or video")
    parser.add_argument("--quick", action="store_true", help="do not look into the frames for what they can measure")
    parser.add_argument(
        "--f-number", type=float, metavar="N", help="f-number set on the lens; the default is the files'"
    )
    add_settings(parser)
    parser.set_defaults(command=info)


def _add_compare(commands: Any) -> None:
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


def _add_benchmark(commands: Any) -> None:
    parser = commands.add_parser(
        "benchmark",
        help="how good depth and pictures are, against truth, physics and other programs",
        description="Run methods and other programs over suites of scenes and write a report.",
        epilog="example: dff benchmark clean noisy --peers openfocus,enfuse -o report",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="a wrong name lists them (default clean noisy cost)")
    parser.add_argument("-o", "--output", default="benchmark", help="folder for the report (default benchmark)")
    parser.add_argument("--methods", type=_names, default=[], metavar="A,B", help="our methods (default all)")
    parser.add_argument("--peers", type=_names, default=[], metavar="A,B", help="other programs, or all (default none)")
    parser.add_argument("--size", type=int, default=256, help="pixels along a side of rendered frames (default 256)")
    parser.add_argument("--frames", type=int, default=36, help="number of rendered frames (default 36)")
    parser.add_argument("--seed", type=int, default=0, help="seed of scenes and noise (default 0)")
    numbers = "; suite speed (default %(default)s)"
    parser.add_argument("--megapixels", default="2,6", metavar="A,B", help="sizes of frames" + numbers)
    parser.add_argument("--counts", default="10,30", metavar="A,B", help="numbers of frames" + numbers)
    parser.add_argument("--formats", type=_names, default=["jpeg", "tiff"], help="of: jpeg, tiff; suite speed")
    parser.add_argument("--cache", help="folder that rendered scenes are kept in (default: not kept)")
    parser.add_argument("--data", help="folder of stored stacks (default $DFF_SHARED/data)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=benchmark)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(flag: str, text: str) -> list[float]:
    try:
        return [float(name) for name in _names(text)]
    except ValueError as error:
        raise ValueError(f"{flag}: must be numbers; got {text!r}; give for example 2,6") from error


def _add_measures(commands: Any) -> None:
    parser = commands.add_parser("measures", help="the focus measures there are")
    parser.set_defaults(command=measures)


def _add_simulate(commands: Any) -> None:
    parser = commands.add_parser("simulate", help="render a focal stack with known depth")
    parser.add_argument("scene", help="name of a scene; an unknown name lists them")
    parser.add_argument("-o", "--output", required=True, help="folder for the frames and their truth")
    parser.add_argument("--size", type=int, default=512, help="pixels along a side (default 512)")
    parser.add_argument("--frames", type=int, default=36, help="number of frames (default 36)")
    parser.add_argument("--seed", type=int, default=0, help="seed of texture, shape and noise (default 0)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.set_defaults(command=simulate)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a focus network on rendered scenes",
        description="Train a focus network, or go on where the output folder's checkpoint stopped.",
        epilog="example: dff train sesf-stack -o run --scenes scenes --render 200 --photographs pictures",
    )
    parser.add_argument("name", metavar="NAME", help="name of a network; an unknown name lists them")
    parser.add_argument("-o", "--output", required=True, help="folder for checkpoints, log, curve and weights")
    parser.add_argument("--scenes", required=True, help="folder of rendered scenes")
    parser.add_argument(
        "--render", type=int, default=0, metavar="COUNT", help="first render scenes until there are COUNT"
    )
    parser.add_argument("--photographs", help="folder of JPEG pictures for the textures of rendered scenes")
    parser.add_argument("--start", metavar="WEIGHTS", help="weight file to start from instead of a fresh network")
    parser.add_argument("--steps", type=int, default=8000, help="steps of the optimiser (default 8000)")
    parser.add_argument("--stop", type=int, metavar="STEP", help="step to end at, before the learning rate has fallen")
    parser.add_argument("--learning-rate", type=float, help="largest step size (default: what suits the network)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and samples (default 0)")
    parser.add_argument("--device", default="cpu", help="where it is trained: cpu or cuda (default cpu)")
    parser.add_argument(
        "--encoder-weights", metavar="NAME", help="encoder to start from: imagenet, for sesf-vgg, downloaded once"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=train)


def _add_page(commands: Any) -> None:
    parser = commands.add_parser(
        "page",
        help="a result as one HTML file to turn, measure and share",
        description="Write the viewer of a result as one HTML file that needs no server and no network.",
        epilog="example: dff page result -o scan.html",
    )
    parser.add_argument("result", help="result folder")
    parser.add_argument("-o", "--output", required=True, help="HTML file")
    _add_page_size(parser)
    parser.set_defaults(command=page)


def _add_view(commands: Any) -> None:
    parser = commands.add_parser(
        "view",
        help="a result in the browser, or in a window of Open3D",
        description="Show a result in the browser; measurements and edits are kept in its folder. Ctrl-C ends it.",
        epilog="example: dff view result",
    )
    parser.add_argument("result", help="result folder")
    parser.add_argument("--desktop", action="store_true", help="a window of Open3D instead of the browser")
    _add_browser(parser)
    _add_page_size(parser)
    parser.set_defaults(command=view)


def _add_browser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-open", action="store_true", help="print the address instead of opening a browser")
    parser.add_argument("--port", type=int, default=0, help="port on this machine (default: a free one)")


def _add_render(commands: Any) -> None:
    parser = commands.add_parser(
        "render",
        help="pictures and films of a result: still, turntable, rocking, stereo",
        description="Draw a result without a screen or graphics driver: pictures as PNG, films as MP4 and GIF.",
        epilog="example: dff render result -o pictures --what turntable,anaglyph",
    )
    parser.add_argument("result", help="result folder")
    parser.add_argument("-o", "--output", required=True, help="folder for the pictures and films")
    parser.add_argument(
        "--what",
        default="still,sheet,turntable,rocking,stereo,anaglyph",
        help="what to make, comma separated (default %(default)s)",
    )
    parser.add_argument("--size", default="960x720", metavar="WxH", help="size in px (default 960x720)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the turntable (default 6)")
    parser.add_argument("--fps", type=float, default=25.0, help="pictures a second (default 25)")
    parser.add_argument(
        "--stereo",
        choices=("mesh", "frames"),
        default="mesh",
        help="see rocking, stereo and anaglyph from the mesh, or from the source frames moved sideways and fused "
        "again: slower, keeps hair and glass (default mesh)",
    )
    _add_moved_frames(parser)
    parser.add_argument("--relief", type=float, help="factor on the heights (default: so that they are seen)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=render)


def _add_apply(commands: Any) -> None:
    parser = commands.add_parser(
        "apply",
        help="what was painted in the viewer becomes picture, depth, cloud and mesh",
        description="Apply the edits.json of a result; without edits, bring the untouched result back.",
        epilog="example: dff apply result",
    )
    parser.add_argument("result", help="result folder")
    _add_moved_frames(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and which frames it needs")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=apply)


def _add_moved_frames(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", metavar="PATH", help="folder or file the source frames are in, if they were moved")


def _add_page_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=12.0,
        metavar="MP",
        help="thin a larger map to every second, third, ... row and column (default 12)",
    )


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


def reconstruct(options: argparse.Namespace) -> int:
    """`dff reconstruct`: read, reconstruct, write."""
    settings = settings_from(options)
    output = Path(options.output)
    from dff import io, pipeline

    if not options.resume:
        io.check_output(output, force=options.force)
    stack = pipeline.open_stack(_sources(options.stack), settings)
    _say(pipeline.describe(stack, settings, output))
    if options.dry_run:
        _say(pipeline.told_time(pipeline.forecast(stack, settings)))
        return 0
    if options.view:
        return _reconstruct_in_view(stack, output, settings, options)
    with _progress(options.quiet) as on_progress:
        result = pipeline.reconstruct_to_folder(
            stack, output, settings, force=options.force, resume=options.resume, on_progress=on_progress
        )
    _say(pipeline.summary(result, output))
    return 0


def batch(options: argparse.Namespace) -> int:
    """`dff batch`: every stack below a folder; 1 where one failed."""
    from dff.batch import run_batch, summary

    with _batch_progress(options.quiet) as (on_stage, on_row):
        rows = run_batch(
            options.folder,
            options.output,
            settings_from(options),
            jobs=options.jobs,
            memory_gb=options.total_memory,
            retries=options.retries,
            scheduler=options.scheduler,
            force=options.force,
            on_stage=on_stage,
            on_row=on_row,
        )
    _say(summary(rows, options.output))
    return int(any(row.state == "failed" for row in rows))


def watch(options: argparse.Namespace) -> int:
    """`dff watch`: stacks as they arrive."""
    from dff.batch import watch_folder

    _say(f"dff: watching {options.folder}; Ctrl-C ends it")
    with _batch_progress(options.quiet) as (on_stage, on_row):
        watch_folder(
            options.folder,
            options.output,
            settings_from(options),
            settle_s=options.settle,
            interval_s=options.interval,
            jobs=options.jobs,
            memory_gb=options.total_memory,
            retries=options.retries,
            on_stage=on_stage,
            on_row=on_row,
        )
    return 0


def _reconstruct_in_view(stack: Any, output: Path, settings: Settings, options: argparse.Namespace) -> int:
    from dff import pipeline
    from viewers.live import live_view

    with live_view(stack, output, settings, port=options.port) as server:
        _show(server.address, options)
        with _progress(options.quiet) as on_progress:
            result = pipeline.reconstruct_to_folder(
                stack,
                output,
                settings,
                force=options.force,
                resume=options.resume,
                on_progress=server.run.telling(on_progress),
                watcher=server.run.watcher,
            )
        server.finish()
        _say(pipeline.summary(result, output))
        _say("dff: the browser shows the result; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            server.wait()
    return 0


def _show(address: str, options: argparse.Namespace) -> None:
    """Open an address in the browser, where there is a screen for one, and print it."""
    import webbrowser

    # Without a screen Python would open a browser for terminals, and wait for it.
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opened = bool(screen) and not options.no_open and webbrowser.open(address)
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    _say("dff: showing it in the browser; Ctrl-C ends" if opened else "dff: open this address; Ctrl-C ends")


def fuse(options: argparse.Namespace) -> int:
    """`dff fuse`: one sharp picture."""
    settings = settings_from(options)
    preset = PRESETS[settings.preset].model if settings.preset else FUSION_MODEL
    settings = settings.but(measure=options.model or preset)
    from dff import pipeline

    stack = pipeline.open_stack(_sources(options.frames), settings)
    with _progress(options.quiet) as on_progress:
        path = pipeline.fuse_to_file(stack, options.output, settings, force=options.force, on_progress=on_progress)
    _say(f"{path}: {len(stack)} frames fused by {settings.measure}")
    return 0


def align(options: argparse.Namespace) -> int:
    """`dff align`: frames registered onto each other."""
    settings = settings_from(options)
    from dff import pipeline

    stack = pipeline.open_stack(_sources(options.stack), settings)
    with _progress(options.quiet) as on_progress:
        found = pipeline.align_to_folder(stack, options.output, settings, force=options.force, on_progress=on_progress)
    _say(f"{options.output}: {len(found)} frames, registered to {found.residual_rms_px:.2f} px rms")
    return 0


def convert(options: argparse.Namespace) -> int:
    """`dff convert`: a result in another format."""
    from dff import io, pipeline

    settings = io.read_reconstruction(options.result).settings.but(**given_settings(options))
    path = pipeline.convert_result(options.result, options.output, settings, kind=options.kind, force=options.force)
    _say(str(path))
    return 0


def info(options: argparse.Namespace) -> int:
    """`dff info`: what a stack is, and what it can measure."""
    from dff import advice, pipeline

    settings = settings_from(options)
    stack = pipeline.open_stack(_sources(options.stack), settings)
    _say(pipeline.describe(stack, settings, None))
    if not options.quick:
        geometry = stack.geometry or pipeline.resolve_geometry(stack, settings)
        optics = {"f_number": options.f_number, "pixel_pitch_mm": settings.pixel_pitch_mm}
        _say(advice.advice(advice.assess(stack, geometry, window_sigma_px=settings.window_sigma_px, **optics)))
    return 0


def measures(options: argparse.Namespace) -> int:
    """`dff measures`: the registered focus measures, a line each."""
    from dff.focus import FOCUS_MEASURES, load_measure

    for name in FOCUS_MEASURES:
        _say(f"{name:32} {load_measure(name).summary}")
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
    _say(told)
    return 0


def benchmark(options: argparse.Namespace) -> int:
    """`dff benchmark`: methods and other programs over suites of scenes."""
    from dff.benchmark import run_benchmark

    with _progress(options.quiet) as on_progress:
        found = run_benchmark(
            options.suites,
            methods=options.methods,
            peers=options.peers,
            output=options.output,
            size_px=options.size,
            frames=options.frames,
            seed=options.seed,
            megapixels=_numbers("--megapixels", options.megapixels),
            counts=[int(count) for count in _numbers("--counts", options.counts)],
            formats=options.formats,
            cache=options.cache,
            data=options.data,
            on_progress=on_progress,
        )
    _say(found.summary(options.output))
    return 0


def simulate(options: argparse.Namespace) -> int:
    """`dff simulate`: a scene's frames with focus table and truth."""
    from dff import io
    from dff.simulate import render_scene

    output = Path(options.output)
    io.check_scene_output(output, force=options.force)
    scene = render_scene(options.scene, size_px=options.size, frames=options.frames, seed=options.seed)
    io.write_scene(scene, output, force=options.force)
    _say(f"{output}: {len(scene.stack)} frames, z.csv and truth/")
    return 0


def train(options: argparse.Namespace) -> int:
    """`dff train`: render scenes where asked to, train, write weights and run card."""
    from dff.training import Recipe, fill_cache, train

    recipe = Recipe(
        network=options.name,
        scenes=options.scenes,
        photographs=options.photographs,
        output=options.output,
        start=options.start,
        steps=options.steps,
        stop=options.stop,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device=options.device,
        encoder_weights=options.encoder_weights,
    )
    with _progress(options.quiet) as on_progress:
        for done, _ in enumerate(fill_cache(options.scenes, options.render, photographs=options.photographs)):
            on_progress("rendering", done + 1, options.render)
        path = train(recipe, on_progress=on_progress)
    _say(f"{path}: trained for {recipe.stop or recipe.steps} steps; the run card is beside it")
    return 0


def page(options: argparse.Namespace) -> int:
    """`dff page`: a result as one HTML file."""
    from viewers.page import write_page

    path = write_page(options.result, options.output, max_megapixels=options.max_megapixels)
    _say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; a double click opens it")
    return 0


def view(options: argparse.Namespace) -> int:
    """`dff view`: a result in the browser, or in a window."""
    if options.desktop:
        from viewers.desktop import show_desktop

        show_desktop(options.result)
        return 0
    from viewers.server import ResultServer

    server = ResultServer(options.result, port=options.port, max_megapixels=options.max_megapixels)
    _show(server.address, options)
    with suppress(KeyboardInterrupt):
        server.serve()
    return 0


def apply(options: argparse.Namespace) -> int:
    """`dff apply`: what was painted on a result."""
    from dff import pipeline

    _say(pipeline.describe_edits(options.result))
    if options.dry_run:
        return 0
    with _progress(options.quiet) as on_progress:
        result = pipeline.apply_edits(options.result, frames=options.frames, on_progress=on_progress)
    _say(f"known      {100 * result.depth.known.mean():.1f} % of the pixels\nresult     {options.result}")
    return 0


def render(options: argparse.Namespace) -> int:
    """`dff render`: pictures and films of a result."""
    from viewers.render import RenderOptions, render_result

    width, cross, height = options.size.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size: must be width x height in px; got {options.size!r}; give for example 960x720")
    size = (int(height), int(width))
    look = (options.seconds, options.fps, options.relief)
    chosen = RenderOptions(size, *look, stereo=options.stereo, moved_to=options.frames)
    kinds = [name.strip() for name in options.what.split(",") if name.strip()]
    with _progress(options.quiet) as on_progress:
        paths = render_result(options.result, options.output, kinds, chosen, on_progress=on_progress)
    for path in paths:
        _say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _sources(arguments: list[str]) -> str | list[str]:
    return arguments[0] if len(arguments) == 1 else arguments


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A callback that draws one bar a stage with the time left; silent when asked or not on a terminal."""
    from dff.stack import silent

    if quiet:
        yield silent
        return
    with _bars() as bars:
        tasks: dict[str, Any] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield on_progress


@contextmanager
def _batch_progress(quiet: bool) -> Iterator[Any]:
    """Callbacks for stages and rows: a bar for all stacks, one for each at work, and a line for each that ended."""
    if quiet:
        yield (lambda *_: None), (lambda *_: None)
        return
    with _bars() as bars:
        every = bars.add_task("stacks", total=None)
        tasks: dict[str, Any] = {}

        def on_stage(job: str, stage: str, done: int, total: int) -> None:
            if job not in tasks:
                tasks[job] = bars.add_task(job)
            bars.update(tasks[job], description=f"{job}: {stage}", completed=done, total=total)

        def on_row(row: Any, total: int | None = None) -> None:
            if row.name in tasks:
                bars.remove_task(tasks.pop(row.name))
            bars.update(every, advance=1, total=total)
            bars.console.print(f"{row.state:<7} {row.name} {row.error}".rstrip(), markup=False, highlight=False)

        yield on_stage, on_row


def _bars() -> Any:
    """Progress bars with the number of steps and the time left, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def _show_warning(message: Any, category: Any, filename: Any, lineno: Any, file: Any = None, line: Any = None) -> None:
    _say(f"dff: warning: {_one_line(message)}")


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
