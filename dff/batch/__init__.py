"""Many stacks: on the cores of one machine, on a Dask cluster, or as they arrive."""

from __future__ import annotations

from dff.batch.forecast import forecast_batch, told_forecast
from dff.batch.jobs import Job, Row
from dff.batch.run import run_batch, summary
from dff.batch.watch import watch_folder

__all__ = ["Job", "Row", "forecast_batch", "run_batch", "summary", "told_forecast", "watch_folder"]
