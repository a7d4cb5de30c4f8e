"""Alignment of a whole stack: the measured motions are reconciled and chained outward from the reference frame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from dff.align.brightness import brightness_gains
from dff.align.motion import MODELS, Bounds, similarity_parameters
from dff.align.pair import PairMotion
from dff.align.path import Links, Path, reconcile
from dff.align.survey import Survey, survey_stack
from dff.stack import Alignment, FloatArray, FocalStack, Progress, silent


def estimate_alignment(
    stack: FocalStack,
    *,
    model: str = "similarity",
    max_shift: float = 0.1,
    max_scale: float = 0.08,
    max_rotation_deg: float = 3.0,
    brightness: str = "gain",
    on_progress: Progress = silent,
) -> Alignment:
    """How each frame is moved onto the reference frame, a sharp one near the middle of the stack.

    Neighbours are registered, and where the motion is slow also frames two and four apart; least squares reconciles
    the motions with each other and with how steadily the stack moves, and they are chained outward. A stack whose
    motion is insignificant is left as it is: every transform is exactly the identity.

    Args:
        stack: The frames, in order along z; each is decoded once.
        model: "none", "translation", "similarity", "affine" or "homography"; a pair that it does not fit gets a
            simpler one, with a warning.
        max_shift: Largest believed shift between neighbours as a share of the longer side.
        max_scale: Largest believed change of scale between neighbours.
        max_rotation_deg: Largest believed rotation between neighbours.
        brightness: "gain" matches low-pass luminance, "none" leaves it.
        on_progress: Called as ("align", done, total).

    Raises:
        ValueError: an unknown model or brightness.
    """
    if model not in MODELS:
        raise ValueError(f"model: must be one of {', '.join(MODELS)}; got {model!r}; choose one of them")
    if brightness not in ("gain", "none"):
        raise ValueError(f"brightness: must be gain or none; got {brightness!r}; choose one of them")
    survey = survey_stack(stack, model, Bounds(max_shift, max_scale, max_rotation_deg), on_progress)
    reference = _reference(survey)
    path = reconcile(survey.links, len(stack), survey.size, model)
    toward = [_toward(survey.links, k, reference) for k in range(len(stack))]
    if path.is_still(reference):
        transforms: FloatArray = np.tile(np.eye(3), (len(stack), 1, 1))
        models = ("none",) * len(stack)
        residual = _residual_if_still(survey, toward, reference)
    else:
        transforms, models = path.chained(reference), _models(toward, reference)
        residual = _residual(toward, path, reference)
    gains: FloatArray = np.ones(len(stack))
    if brightness == "gain":
        gains = brightness_gains(survey.codes, survey.light, transforms, reference, survey.factor)
    _warn(stack.names, model, toward, gains, reference)
    return Alignment(transforms, np.nan_to_num(gains, nan=1.0), residual, models, reference, survey.size)


def _reference(survey: Survey) -> int:
    """The frame of strongest fine texture in the middle half of the stack, of those that could be registered."""
    count = len(survey.texture)
    middle = range(count // 4, max(count // 4 + 1, count - count // 4))
    linked = {frame for link in survey.links for frame in link}
    return max([k for k in middle if k in linked] or middle, key=lambda k: survey.texture[k])


def _toward(links: Links, frame: int, reference: int) -> tuple[int, PairMotion] | None:
    """The nearest frame on the reference's side that a frame is linked to, and the motion; None where there is none."""
    if frame > reference:
        linked = [earlier for earlier, later in links if later == frame]
        return (max(linked), links[max(linked), frame]) if linked else None
    linked = [later for earlier, later in links if earlier == frame]
    return (min(linked), links[frame, min(linked)]) if linked else None


def _models(toward: Sequence[tuple[int, PairMotion] | None], reference: int) -> tuple[str, ...]:
    names = ["interpolated" if link is None else link[1].model for link in toward]
    names[reference] = "none"
    return tuple(names)


def _residual(toward: Sequence[tuple[int, PairMotion] | None], path: Path, reference: int) -> FloatArray:
    """Residual of the links, with what reconciling added to it."""
    residual = np.full(len(toward), np.nan)
    for k, link in enumerate(toward):
        if link is not None and k != reference:
            low, high = sorted((k, link[0]))
            residual[k] = np.hypot(link[1].residual_px, _rms_px(path.correction[low:high].sum(axis=0)))
    return residual


def _residual_if_still(survey: Survey, toward: Sequence[tuple[int, PairMotion] | None], reference: int) -> FloatArray:
    """Misregistration of each frame against its neighbour when nothing is moved."""
    if survey.still_px:
        before = np.array(survey.still_px)
        return np.concatenate([before[1 : reference + 1], [np.nan], before[reference + 1 :]])
    residual = np.full(len(toward), np.nan)
    for k, link in enumerate(toward):
        if link is not None and k != reference:
            motion = similarity_parameters(link[1].transform, survey.size)
            residual[k] = np.hypot(link[1].residual_px, _rms_px(motion))
    return residual


def _rms_px(parameters: FloatArray) -> float:
    """Rms displacement over the picture of a small motion given by its similarity parameters."""
    return float(np.sqrt((parameters[:2] ** 2).sum() + (parameters[2:] ** 2).sum() / 3))


def _warn(
    names: Sequence[str],
    model: str,
    toward: Sequence[tuple[int, PairMotion] | None],
    gains: FloatArray,
    reference: int,
) -> None:
    others = [k for k in range(len(names)) if k != reference]
    lost = [names[k] for k in others if toward[k] is None]
    if model != "none" and lost:
        _say(f"alignment: {_list(lost)} could not be registered; the motion of the neighbours is used")
    for simpler in MODELS[1:]:
        fallen = [names[k] for k in others if (link := toward[k]) and link[1].model == simpler != model]
        if fallen:
            _say(f"alignment: {_list(fallen)} did not allow {model}; {simpler} is used")
    dark = [name for name, gain in zip(names, gains) if not np.isfinite(gain)]
    if dark:
        _say(f"brightness: {_list(dark)} too dark or too bright to be matched; left as is")


def _say(line: str) -> None:
    warnings.warn(line, stacklevel=4)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
