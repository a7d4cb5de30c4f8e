"""What a computation takes: processor seconds, wall seconds and peak memory, of this process or of a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[2:]).returncode
use = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as report:
    json.dump([code, use.ru_utime + use.ru_stime, time.perf_counter() - started, use.ru_maxrss], report)
"""
"""A process of a few MB starts the command: started from here, its peak would count this process's memory."""

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Cost:
    """What a computation took."""

    cpu_s: float
    """Processor seconds of all threads and child processes."""
    wall_s: float
    peak_gb: float = float("nan")
    """Largest resident memory of one process, GB (10^9 bytes); NaN where it was not measured."""


class CommandError(RuntimeError):
    """A command failed; the message is one line with its exit code and last line of output."""


@contextmanager
def stopwatch() -> Iterator[list[Cost]]:
    """A list that holds the cost of the block once the block has ended."""
    costs: list[Cost] = []
    cpu, wall = time.process_time(), time.perf_counter()
    yield costs
    costs.append(Cost(time.process_time() - cpu, time.perf_counter() - wall))


def measured_command(
    command: Sequence[str | Path],
    *,
    folder: str | Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600,
) -> Cost:
    """Run a command to its end and measure it together with all processes that it starts.

    Args:
        command: Program and arguments.
        folder: Working folder.
        environment: Variables on top of this process's own.
        timeout_s: A command that takes longer is stopped.

    Raises:
        CommandError: it fails, or takes too long.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory() as temporary:
        report, log = Path(temporary, "report.json"), Path(temporary, "log.txt")
        with log.open("wb") as output:
            launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(report), *words]
            process = subprocess.Popen(
                launcher,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _wait(process, timeout_s, words[0])
        if not report.exists():
            raise CommandError(f"{words[0]}: could not be started: {_last_line(log)}")
        code, cpu_s, wall_s, peak = json.loads(report.read_text())
        if code:
            raise CommandError(f"{words[0]}: ended with exit code {code}: {_last_line(log)}")
    return Cost(cpu_s, wall_s, peak * _MAXRSS_UNIT / 1e9)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, name: str) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name}: took more than {timeout_s:g} s and was stopped") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
