"""python -m dff.cli: the command line without the installed script."""

from __future__ import annotations

from dff.cli import run

if __name__ == "__main__":
    run()
