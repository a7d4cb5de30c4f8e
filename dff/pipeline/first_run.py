"""The first run after an installation, which compiles its loops: another process begins with those of the last stages.

Numba compiles one function at a time in a process. The other process goes from the last loop to the first, and what it
has compiled lies on the disk when the run comes to it: they meet in the middle.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dff.compiled import compile_for, has_machine_code, machine_code_folder
from dff.pipeline.prepare import thread_count

_ONCE = "dff: the first run compiles its loops, which takes about half a minute more, once"
_ALWAYS = (
    "dff: loops are compiled for every run, half a minute each: {} cannot be written; set NUMBA_CACHE_DIR to a folder"
)
LOOPS = """
focus.energy_loops cells f3 f2 f2 q1 q1 f2 f1 f i2 i2 qq q f3
depth.path_loops site_costs f3 q f f H3A
depth.path_loops down H3 qq f3 f f f ? f h3
depth.path_loops along H3A f f f f h3
depth.path_loops cheapest h3 q q2
depth.outline_loops cones f2 f f2 f2
depth.outline_loops sides H3 ?2 f2 ? f2 q2
focus.energy_loops logits f3 f2 f2 q1 q1 f2 f1 f i2 i2 qq q f3
depth.curve_loops best_of_sites f3 q2 q q q q2
depth.peak_loops fits f3 q2 f1 q q f f f f q2 f3
depth.peak_loops around f3 q2 q f f3
depth.peak_loops curves f2 q2 f3 f3 q q f f2 f f f2 f3
depth.plane_loops weigh f2 f2 f f3
depth.plane_loops fit f2 f3 f2 f f2
depth.window_loops remains f2 f2 f2 f2 f f2
depth.window_loops tell f3 f2 f1 f3 f2
depth.window_loops noise f2 f f f2
depth.window_loops half_logs f2 f f2
depth.unit_loops mixtures f2 f2 f1 f2 f1 f2 f2 q1 f1 f1 f1
depth.edge_loops boxes q2 q2
depth.edge_loops put f3 q q2 f3A
depth.edge_loops likeness f2 q1 q1 f1 H2
depth.edge_loops votes f1 f1 q1 q1 f1 H2 f f2 f1 f1
depth.edge_loops fills f1 f1 f1 q1 q1 f2 f1 H2 f f f1 f1
depth.curve_loops surest_claims f3 q2 q q q f f2
depth.unit_loops answers f2 f2 f1 f2 f1 f2
depth.curve_loops forget f2 f2 i2 i2 f
fuse.blend_loops frame_range f2 f2 f2 q f2 f2
fuse.blend_loops runs_of ?2 q q q q
fuse.blend_loops largest_in_cells f i2 f2 f2 f2 ?2 q f2
fuse.blend_loops occupied f2 q ?2
fuse.blend_loops weigh f f2 f2 f2 f2 f2 f ?2 ?2 q q q i2 f2
fuse.blend_loops planes_of B3 f i2 f3
fuse.blend_loops halve f3 i2 f3
fuse.blend_loops band_of f3 f3 i2 f3 f2
fuse.blend_loops smooth_rows f2 f1 i2
fuse.blend_loops add_band f3 f2 f1 f f2 qq f2 q i2 q q f3 f2
fuse.blend_loops add_rest f3 f2 q i2 q q f3 f2
fuse.cell_loops depth_range f2 ?2 q f2 f2
fuse.cell_loops coarser f2 f3 f2 f3 f2 f3 f2 f3
fuse.cell_loops add_veils ?2 f2 f2 f2 f3 q2 ff f f ? f3
fuse.cell_loops add_discs ?2 f2 f2 f2 f3 q2 f2 f3
fuse.cell_loops add_at_pixels f3 f2 q q1 q1 f1 f ?2 f2
fuse.veil_loops describe f2 q1 q1 f2 f3
fuse.veil_loops describe_behind f3 q1 q1 f3
fuse.veil_loops replace_behind f2 f1 q1 q1 f3
fuse.veil_loops doubts f2 f2 f2 f2 f2 f1 f2 f f2
fuse.veil_loops proofs f2 f2 f1 f f1 f1
fuse.veil_loops sum_in_cells f2 q1 q1 q f3
fuse.veil_loops bounds_in_cells f2 f2 q1 q1 q f3
fuse.veil_loops put f2 f2 f1 q1 q1 f2 q f3 f3 f3
fuse.sample_loops sort_by_frame f1 i1 q1
fuse.sample_loops about_frame i1 q1 f1 f f q1 q1
fuse.sample_loops add_colours B3 f ?2 q q q1 q1 i1 f1 f f f1 f2
surface.grid_loops jumps f2 f q q ?2
surface.grid_loops smeared_steps f2 f q q ?2
surface.grid_loops points_at f2 f2 f2 f2 f3
surface.grid_loops tangents f3 ?2 ?2 f3 f3
surface.grid_loops normals f3 f3 f3 f3
preview.still_loops draw B3 d2 d2 i2 f2 d
"""
"""A line for each, in the order of the stages: module, name, and what it is called with in most runs; `compile_for`."""
_COMMAND = "from dff.pipeline.first_run import compile_loops; compile_loops()"
_PRIORITY = 10
"""Lower than that of a run."""


@contextmanager
def compiled_beside(threads: int, say: Callable[[str], None]) -> Iterator[None]:
    """Have loops compiled by another process as well, which ends with the block, where most of them never were.

    Args:
        threads: How many the run may use, 0 is one a core; one works alone.
        say: Called with a line for the user if loops are to be compiled.
    """
    modules = loop_modules()
    helper = None
    if 2 * sum(map(has_machine_code, modules)) < len(modules):
        folder = machine_code_folder()
        kept = os.access(next(place for place in (folder, *folder.parents) if place.exists()), os.W_OK)
        say(_ONCE if kept else _ALWAYS.format(folder))
        helper = _started() if kept and thread_count(threads) > 1 else None
    try:
        yield
    finally:
        if helper is not None:
            # What it has compiled lies on the disk as a whole or not at all.
            helper.kill()
            helper.communicate()


def compile_loops() -> None:
    """Compile all loops, the last first, until the process that has started this one ends."""
    if hasattr(os, "nice"):
        os.nice(_PRIORITY)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for module, name, types in reversed(_loops()):
        compile_for(getattr(importlib.import_module(module), name), types)


def loop_modules() -> list[str]:
    """Modules of the loops of most runs, in the order of the stages."""
    return list(dict.fromkeys(module for module, _, _ in _loops()))


def _loops() -> list[tuple[str, str, str]]:
    lines = (line.split(maxsplit=2) for line in LOOPS.strip().splitlines())
    return [(f"dff.{module}", name, types) for module, name, types in lines]


def _started() -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, env=environment
    )


def _end_with_parent() -> None:
    """Its end of the pipe is closed however it ends."""
    sys.stdin.buffer.read()
    os._exit(0)
