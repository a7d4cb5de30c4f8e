"""`dff page`, `dff view` and `dff render`: a result to look at."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import Any

from dff.cli.options import add_moved_frames
from dff.cli.report import progress, say


def add_page(commands: Any) -> None:
    """Add `dff page`."""
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


def add_view(commands: Any) -> None:
    """Add `dff view`."""
    parser = commands.add_parser(
        "view",
        help="a result in the browser, or in a window of Open3D",
        description="Show a result in the browser; measurements and edits are kept in its folder. Ctrl-C ends it.",
        epilog="example: dff view result",
    )
    parser.add_argument("result", help="result folder")
    parser.add_argument("--desktop", action="store_true", help="a window of Open3D instead of the browser")
    add_browser(parser)
    _add_page_size(parser)
    parser.set_defaults(command=view)


def add_render(commands: Any) -> None:
    """Add `dff render`."""
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
    add_moved_frames(parser)
    parser.add_argument("--relief", type=float, help="factor on the heights (default: so that they are seen)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=render)


def add_browser(parser: argparse.ArgumentParser) -> None:
    """Add the flags of commands that show something in the browser."""
    parser.add_argument("--no-open", action="store_true", help="print the address instead of opening a browser")
    parser.add_argument("--port", type=int, default=0, help="port on this machine (default: a free one)")


def _add_page_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=12.0,
        metavar="MP",
        help="thin a larger map to every second, third, ... row and column (default 12)",
    )


def page(options: argparse.Namespace) -> int:
    """`dff page`: a result as one HTML file."""
    from viewers.page import write_page

    path = write_page(options.result, options.output, max_megapixels=options.max_megapixels)
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; a double click opens it")
    return 0


def view(options: argparse.Namespace) -> int:
    """`dff view`: a result in the browser, or in a window."""
    if options.desktop:
        from viewers.desktop import show_desktop

        show_desktop(options.result)
        return 0
    from viewers.server import ResultServer

    server = ResultServer(options.result, port=options.port, max_megapixels=options.max_megapixels)
    show(server.address, options)
    with suppress(KeyboardInterrupt):
        server.serve()
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
    with progress(options.quiet) as on_progress:
        paths = render_result(options.result, options.output, kinds, chosen, on_progress=on_progress)
    for path in paths:
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def show(address: str, options: argparse.Namespace) -> None:
    """Open an address in the browser, where there is a screen for one, and print it."""
    import webbrowser

    # Without a screen Python would open a browser for terminals, and wait for it.
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opened = bool(screen) and not options.no_open and webbrowser.open(address)
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    say("dff: showing it in the browser; Ctrl-C ends" if opened else "dff: open this address; Ctrl-C ends")
