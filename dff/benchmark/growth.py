"""How figures grow with the megapixels and the number of frames of stacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from dff.benchmark.score import Row

_LEAST_S = 0.02
"""How stages that take less grow is not told."""
_VARIED = ("megapixels", "frames")
_POWERS = np.linspace(0.5, 1.5, 101)
_UNKNOWNS = 4
"""Of `beyond_once`: three coefficients and a power."""


def growth(rows: Sequence[Row], kind: str, whole: str) -> list[str]:
    """A line a stage: the exponents with which its processor time grows with pixels and with frames; and memory.

    Args:
        rows: Figures of stages, of several stacks.
        kind: Only of stacks with such frames.
        whole: How the method is called, or how its name ends, that is the sum of all stages.
    """
    lines = []
    for stage in dict.fromkeys(row["method"] for row in rows if "cpu_s" in row):
        chosen = [row for row in rows if row["method"] == stage and row["kind"] == kind]
        if len(chosen) and min(row["cpu_s"] for row in chosen) >= _LEAST_S:
            lines += _told(kind, f"{stage} takes", fitted_exponents(chosen, "cpu_s"))
        if stage.endswith(whole):
            lines += _told_beyond(kind, stage, chosen)
            lines += _told(kind, f"{stage.removesuffix(whole)}peak memory is", fitted_exponents(chosen, "peak_gb"))
    return lines


def _told(kind: str, what: str, exponents: dict[str, float]) -> list[str]:
    powers = ", ".join(f"{name}^{value:.2f}" for name, value in exponents.items())
    return [f"growth, {kind}: {what} {powers}"] if powers else []


def _told_beyond(kind: str, stage: str, rows: Sequence[Row]) -> list[str]:
    power = beyond_once(rows, "cpu_s")
    what = f"{stage}, beyond what is paid once and once a pixel, takes"
    return [] if power is None else [f"growth, {kind}: {what} (megapixels x frames)^{power:.2f}"]


def fitted_exponents(rows: Sequence[Row], figure: str) -> dict[str, float]:
    """Exponents of a figure in megapixels and frames, by least squares of the logarithms; of what was varied only."""
    varied = {name: np.log([row[name] for row in rows]) for name in _VARIED}
    varied = {name: values for name, values in varied.items() if len(rows) and np.ptp(values) > 0}
    if not varied:
        return {}
    design = np.stack([*varied.values(), np.ones(len(rows))], axis=1)
    solution, *_ = np.linalg.lstsq(design, np.log([row[figure] for row in rows]), rcond=None)
    return dict(zip(varied, solution.tolist()))


def beyond_once(rows: Sequence[Row], figure: str) -> float | None:
    """The power p of megapixels x frames in a figure that is a + b megapixels + c (megapixels x frames)^p.

    Nothing is negative, and relative errors are least. None where stacks of too few sizes tell.
    """
    megapixels, frames, values = (np.array([row[name] for row in rows], float) for name in (*_VARIED, figure))
    if len(rows) <= _UNKNOWNS or np.ptp(megapixels) == 0 or np.ptp(frames) == 0:
        return None

    def error(power: float) -> float:
        design = np.stack([np.ones(len(rows)), megapixels, (megapixels * frames) ** power], 1)
        return float(nnls(design / values[:, None], np.ones(len(rows)))[1])

    return min(_POWERS.tolist(), key=error)
