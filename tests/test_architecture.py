"""The layers of the plan and the homes of the libraries hold."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "settings": 0,
    "stack": 1,
    "ahead": 2,
    "compiled": 0,
    "covered": 2,
    "program": 0,
    "edits": 2,
    "optics": 2,
    "filters": 2,
    "markup": 2,
    "metrics": 2,
    "io": 3,
    "align": 3,
    "focus": 3,
    "fuse": 3,
    "surface": 3,
    "preview": 3,
    "measure": 3,
    "effects": 3,
    "simulate": 3,
    "depth": 4,
    "advice": 4,
    "pipeline": 5,
    "training": 5,
    "export": 5,
    "batch": 6,
    "benchmark": 6,
    "cli": 7,
}
LIBRARY_HOMES = {
    "llvmlite": {"focus"},
    "numba": {"compiled", "focus"},
    "open3d": {"surface", "io", "preview", "simulate", "viewers"},
    "tifffile": {"io"},
    "rawpy": {"io"},
    "av": {"io", "viewers"},
    "PIL": {"io", "preview"},
    "torchvision": {"focus"},
    "rich": {"cli"},
    "argparse": {"cli", "preview"},
}
MODULES = sorted(path for folder in ("dff", "viewers") for path in (ROOT / folder).rglob("*.py"))


def room(path: Path) -> str:
    """The top-level module or package a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "viewers" else parts[1]


def imports(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    """No upward and no sideways import between rooms; only the command line opens a viewer."""
    here = room(path)
    if here in ("__init__", "viewers"):
        return
    assert here in LAYERS, f"{here} has no layer"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "viewers":
            assert here == "cli", f"{path} imports {name}"
        if parts[0] != "dff" or len(parts) < 2 or parts[1] == here or parts[1] not in LAYERS:
            continue
        assert LAYERS[parts[1]] < LAYERS[here], f"{path} ({here}) imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_used_at_home_only(path: Path) -> None:
    """A library with a home is imported nowhere else."""
    for name in imports(path):
        homes = LIBRARY_HOMES.get(name.split(".")[0])
        assert homes is None or room(path) in homes, f"{path} imports {name}"


def test_heavy_libraries_are_not_imported_at_start() -> None:
    """`import dff` and the command line's help load neither torch, OpenCV, Numba nor Open3D."""
    heavy = ("torch", "cv2", "numba", "open3d", "scipy", "rich")
    code = f"import sys, dff, dff.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_instant() -> None:
    """`dff --help` takes less than 0.3 s of processor time."""
    code = "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', 'dff.cli', '--help'], check=True, \
stdout=subprocess.DEVNULL); use = resource.getrusage(resource.RUSAGE_CHILDREN); print(use.ru_utime + use.ru_stime)"
    spent = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert spent < 0.3


def test_public_names_resolve() -> None:
    """Every name that the package offers is there."""
    import dff

    started = time.perf_counter()
    for name in dff.__all__:
        assert getattr(dff, name) is not None
    assert time.perf_counter() - started < 60
