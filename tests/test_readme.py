"""The README's commands and sample are what they say they are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dff import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(mark: str) -> str:
    """The first fenced block after a mark."""
    found = re.search(re.escape(mark) + r".*?```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block after {mark}"
    return found.group(1).strip()


def test_the_demo_command_reconstructs_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo command, without its install part, makes a cloud, a mesh, a page and the documented files."""
    install, run, page = block("<!-- demo -->").split(" && ")
    assert install == "pip install ."
    output = tmp_path / "demo-result"
    monkeypatch.chdir(ROOT)
    assert cli.main([*shlex.split(run.replace("demo-result", str(output)))[1:], "--quiet"]) == 0
    assert (
        cli.main(shlex.split(page.replace("demo-result", str(output)).replace("demo.html", f"{output}.html"))[1:]) == 0
    )
    assert b"<html" in Path(f"{output}.html").read_bytes()[:500]
    documented = set(re.findall(r"`([a-z_]+\.(?:tif|ply|json))`", README.split("## What you get")[1].split("##")[0]))
    assert documented <= {path.name for path in output.iterdir()}


def test_the_python_sample_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python block runs as it stands."""
    monkeypatch.chdir(ROOT)
    exec(compile(block("From Python:"), "README.md", "exec"), {})  # noqa: S102 - our own README
    assert "mm" in capsys.readouterr().out


def test_every_command_of_the_readme_parses() -> None:
    """Each `dff` line of the README is a command line that the parser takes."""
    lines = [line for line in README.splitlines() if line.startswith("dff ")]
    assert len(lines) >= 4
    for line in lines:
        cli.build_parser().parse_args(shlex.split(line, comments=True)[1:])
