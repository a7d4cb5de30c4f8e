"""A folder of stacks becomes a folder of results, with a table of what came of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from dff import io
from dff.batch.jobs import Job, Row, failed, plan_job
from dff.batch.pool import OnStage, Pool, cores
from dff.batch.report import write_report
from dff.settings import DEFAULTS, Settings

HIDDEN = ".batch"
_MANIFEST = "manifest.jsonl"
_SAME = "made of these frames with these options; got a result of others; replace it with --force"

OnRow = Callable[[Row, int], None]
"""Called with the row of each stack as it ends, and the number of stacks."""


def no_stage(job: str, stage: str, done: int, total: int) -> None:
    """Says nothing."""


def _no_row(row: Row, total: int) -> None:
    """Says nothing."""


def run_batch(
    folder: str | Path,
    results: str | Path,
    settings: Settings = DEFAULTS,
    *,
    jobs: int = 0,
    memory_gb: float = 0.0,
    retries: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    on_stage: OnStage = no_stage,
    on_row: OnRow = _no_row,
) -> list[Row]:
    """Reconstruct every stack below a folder; one that fails never stops the others.

    Stacks that an earlier batch finished with the same frames and options are kept, those that it left unfinished go
    on where it stopped. The table is in batch.csv and batch.html of the results.

    Args:
        folder: Folder of stacks: folders of frames, TIFF files of many pages, videos, at any depth.
        results: Folder for a result folder a stack, of the same name.
        settings: Every option of every stack.
        jobs: Stacks at a time; 0 takes as many as there are cores.
        memory_gb: Memory that all stacks together may take; 0 takes what is free.
        retries: Further attempts at a stack that failed for want of memory, disk or network.
        scheduler: Address of a Dask scheduler whose workers do the work; by default processes of this machine do.
        force: Replace results that were made of other frames or with other options.
        on_stage: Called as (stack, stage, done, total).
        on_row: Called with the row of each stack as it ends.

    Raises:
        ValueError: there are no stacks.
        OSError: the folders cannot be read or written.
    """
    found = found_stacks(folder)
    record = Record(Path(results))
    jobs = min(jobs or cores(), len(found))
    todo, ended = planned(found, record, shared(settings, 1 if scheduler else jobs), force)
    for row in ended:
        on_row(row, len(found))
    for row in _rows(todo, scheduler, jobs, memory_gb, retries, on_stage):
        record.add(row)
        on_row(row, len(found))
        ended.append(row)
    order = {name: number for number, name in enumerate(found)}
    ended.sort(key=lambda row: order[row.name])
    record.write_tables(ended)
    return ended


def found_stacks(folder: str | Path) -> dict[str, Path]:
    """The stacks below a folder, by name.

    Raises:
        ValueError: there are none.
        OSError: there is no such folder.
    """
    found = io.list_stacks(folder)
    if not found:
        raise ValueError(f"{folder}: must hold focal stacks; got none; give a folder with a folder for each stack")
    return found


def shared(settings: Settings, jobs: int) -> Settings:
    """Settings with the cores shared between the jobs."""
    return settings.but(threads=max(1, cores() // jobs)) if jobs > 1 and not settings.threads else settings


def planned(found: dict[str, Path], record: Record, settings: Settings, force: bool) -> tuple[list[Job], list[Row]]:
    """The stacks that are to be done, and the rows of those that are finished already or cannot be begun."""
    jobs, rows = [], []
    for name, source in found.items():
        job = record.job(name, source, settings, force=force)
        if isinstance(job, Row):
            rows.append(job)
        else:
            jobs.append(job)
    return jobs, rows


def _rows(
    jobs: Sequence[Job], scheduler: str | None, at_once: int, memory_gb: float, retries: int, on_stage: OnStage
) -> Iterator[Row]:
    if scheduler is not None:
        from dff.batch.cluster import run_on_cluster

        yield from run_on_cluster(jobs, scheduler, retries=retries, on_stage=on_stage)
        return
    with Pool(at_once, memory_gb, retries, on_stage) as pool:
        for job in jobs:
            pool.submit(job)
        while not pool.idle:
            yield from pool.poll()


class Record:
    """What is known of a folder of results: a line a stack that ended, the latest one counts."""

    def __init__(self, results: Path) -> None:
        """Read what earlier batches noted."""
        self.results = results
        names = {spec.name for spec in fields(Row)}
        self._path = results / HIDDEN / _MANIFEST
        self.rows: dict[str, Row] = {}
        for line in io.read_lines(self._path):
            row = Row(**{name: value for name, value in line.items() if name in names})
            self.rows[row.name] = row

    def add(self, row: Row) -> None:
        """Note how a stack ended."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        io.append_line(self._path, asdict(row))
        self.rows[row.name] = row

    def thumbnail(self, name: str) -> Path:
        """The small picture of a result."""
        return self.results / HIDDEN / f"{name}.jpg"

    def job(self, name: str, source: Path, settings: Settings, *, force: bool) -> Job | Row:
        """What is to be done for a stack; a row where there is nothing to do, or nothing can be done."""
        try:
            job = plan_job(name, source, self.results, self.thumbnail(name), settings, force=force)
        except (ValueError, OSError, ImportError) as error:
            return failed(name, error)
        before = self.rows.get(name)
        made_of = io.read_fingerprint(job.output)
        if made_of == job.digest and before and before.digest == job.digest and before.state != "failed":
            return replace(before, state="kept")
        if made_of and made_of != job.digest and not force:
            return Row(name, "failed", f"{job.output}: must be {_SAME}", job.digest)
        return job

    def write_tables(self, rows: Sequence[Row]) -> None:
        """Write batch.csv and batch.html."""
        write_report(rows, self.results, self.thumbnail)


def summary(rows: Sequence[Row], results: str | Path) -> str:
    """How a batch ended, in a few lines."""
    counts = {state: sum(row.state == state for row in rows) for state in ("done", "kept", "failed")}
    lines = [f"{row.name}: {row.error}" for row in rows if row.state == "failed"]
    told = f"{counts['done']} done, {counts['kept']} kept, {counts['failed']} failed"
    return "\n".join([*lines, f"stacks     {told}", f"table      {Path(results) / 'batch.html'}"])
