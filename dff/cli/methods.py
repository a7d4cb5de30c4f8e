"""`dff measures`, `benchmark`, `simulate`, `train` and `export`: focus measures, how good they are, and new ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dff.cli.options import name_list, number_list
from dff.cli.report import progress, say


def add_measures(commands: Any) -> None:
    """Add `dff measures`."""
    parser = commands.add_parser("measures", help="the focus measures there are")
    parser.set_defaults(command=measures)


def add_benchmark(commands: Any) -> None:
    """Add `dff benchmark`."""
    parser = commands.add_parser(
        "benchmark",
        help="how good depth and pictures are, against truth, physics and other programs",
        description="Run methods and other programs over suites of scenes and write a report.",
        epilog="example: dff benchmark clean noisy --peers openfocus,enfuse -o report",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="a wrong name lists them (default clean noisy cost)")
    parser.add_argument("-o", "--output", default="benchmark", help="folder for the report (default benchmark)")
    parser.add_argument("--methods", type=name_list, default=[], metavar="A,B", help="our methods (default all)")
    parser.add_argument("--peers", type=name_list, default=[], metavar="A,B", help="peers, or all (default none)")
    parser.add_argument("--size", type=int, default=256, help="pixels along a side of rendered frames (default 256)")
    parser.add_argument("--frames", type=int, default=36, help="number of rendered frames (default 36)")
    parser.add_argument("--seed", type=int, default=0, help="seed of scenes and noise (default 0)")
    numbers = "; suite speed (default %(default)s)"
    parser.add_argument("--megapixels", default="2,6", metavar="A,B", help="sizes of frames" + numbers)
    parser.add_argument("--counts", default="10,30", metavar="A,B", help="numbers of frames" + numbers)
    parser.add_argument("--formats", type=name_list, default=["jpeg", "tiff"], help="of: jpeg, tiff; suite speed")
    parser.add_argument("--cache", help="folder that rendered scenes are kept in (default: not kept)")
    parser.add_argument("--data", help="folder of stored stacks (default $DFF_SHARED/data)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=benchmark)


def add_simulate(commands: Any) -> None:
    """Add `dff simulate`."""
    parser = commands.add_parser("simulate", help="render a focal stack with known depth")
    parser.add_argument("scene", help="name of a scene; an unknown name lists them")
    parser.add_argument("-o", "--output", required=True, help="folder for the frames and their truth")
    parser.add_argument("--size", type=int, default=512, help="pixels along a side (default 512)")
    parser.add_argument("--frames", type=int, default=36, help="number of frames (default 36)")
    parser.add_argument("--seed", type=int, default=0, help="seed of texture, shape and noise (default 0)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.set_defaults(command=simulate)


def add_train(commands: Any) -> None:
    """Add `dff train`."""
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
    parser.add_argument(
        "--close-ups", type=int, default=0, metavar="COUNT", help="and so many of print and claws, for sesf-stack"
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


def add_export(commands: Any) -> None:
    """Add `dff export`."""
    parser = commands.add_parser(
        "export",
        help="write a network as TorchScript, ONNX or a TensorRT engine",
        description="Write a network as a file for other programs, and compare the file's answers with the network's.",
        epilog="example: dff export sesf-stack -o sesf-stack.onnx --format onnx",
    )
    parser.add_argument("name", metavar="NAME", help="name of a network; an unknown name lists them")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--format", default="torchscript", help="torchscript (default), onnx or tensorrt; an engine fits this GPU only"
    )
    parser.add_argument("--weights", metavar="FILE", help="weight file (default: the one that comes with dff)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(command=export)


def measures(options: argparse.Namespace) -> int:
    """`dff measures`: the registered focus measures, a line each."""
    from dff.focus import FOCUS_MEASURES, load_measure

    for name in FOCUS_MEASURES:
        say(f"{name:32} {load_measure(name).summary}")
    return 0


def benchmark(options: argparse.Namespace) -> int:
    """`dff benchmark`: methods and other programs over suites of scenes."""
    from dff.benchmark import run_benchmark

    with progress(options.quiet) as on_progress:
        found = run_benchmark(
            options.suites,
            methods=options.methods,
            peers=options.peers,
            output=options.output,
            size_px=options.size,
            frames=options.frames,
            seed=options.seed,
            megapixels=number_list("--megapixels", options.megapixels),
            counts=[int(count) for count in number_list("--counts", options.counts)],
            formats=options.formats,
            cache=options.cache,
            data=options.data,
            on_progress=on_progress,
        )
    say(found.summary(options.output))
    return 0


def simulate(options: argparse.Namespace) -> int:
    """`dff simulate`: a scene's frames with focus table and truth."""
    from dff import io
    from dff.simulate import render_scene

    output = Path(options.output)
    io.check_scene_output(output, force=options.force)
    scene = render_scene(options.scene, size_px=options.size, frames=options.frames, seed=options.seed)
    io.write_scene(scene, output, force=options.force)
    say(f"{output}: {len(scene.stack)} frames, z.csv and truth/")
    return 0


def export(options: argparse.Namespace) -> int:
    """`dff export`: a network as a file for other programs."""
    from dff.export import export_network

    say(
        str(
            export_network(
                options.name, options.output, kind=options.format, weights=options.weights, force=options.force
            )
        )
    )
    return 0


def train(options: argparse.Namespace) -> int:
    """`dff train`: render scenes where asked to, train, write weights and run card."""
    from dff.training import CLOSE_UP_LOSSES, LossWeights, Recipe, fill_cache, train

    recipe = Recipe(
        network=options.name,
        scenes=options.scenes,
        photographs=options.photographs,
        close_ups=options.close_ups,
        output=options.output,
        start=options.start,
        steps=options.steps,
        stop=options.stop,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device=options.device,
        encoder_weights=options.encoder_weights,
        losses=CLOSE_UP_LOSSES if options.close_ups else LossWeights(),
    )
    count = options.render + options.close_ups
    scenes = fill_cache(options.scenes, options.render, photographs=options.photographs, close_ups=options.close_ups)
    with progress(options.quiet) as on_progress:
        for done, _ in enumerate(scenes):
            on_progress("rendering", done + 1, count)
        path = train(recipe, on_progress=on_progress)
    say(f"{path}: trained for {recipe.stop or recipe.steps} steps; the run card is beside it")
    return 0
