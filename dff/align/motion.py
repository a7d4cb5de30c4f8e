"""Motions between frames: models, the fit of small motions, coordinates of pyramid levels, bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dff.optics import image_centre
from dff.stack import FloatArray

MODELS = ("none", "translation", "similarity", "affine", "homography")
"""Motion models from the simplest to the richest."""
DEGREES = {"none": 0, "translation": 2, "similarity": 4, "affine": 6, "homography": 8}

Size = tuple[int, int]


@dataclass(frozen=True)
class Bounds:
    """The largest motion that is believed between neighbouring frames."""

    shift: float
    """Shift of the image centre as a share of the longer side."""
    scale: float
    rotation_deg: float

    def hold(self, transform: FloatArray, size: Size) -> bool:
        """Whether a motion stays inside: shift of the centre, and scale, rotation and shear anywhere on the picture."""
        if not np.isfinite(transform).all():
            return False
        shift = centre_motion(transform, size)[1]
        if np.hypot(*shift) > self.shift * max(size):
            return False
        return all(self._linear_holds(jacobian(transform, point)) for point in (image_centre(size), *corners(size)))

    def _linear_holds(self, linear: FloatArray) -> bool:
        turn = nearest_similarity(linear)
        stretch = np.linalg.svd(linear, compute_uv=False)
        angle = abs(math.degrees(math.atan2(turn[1, 0], turn[0, 0])))
        return bool(angle <= self.rotation_deg and np.abs(stretch - 1).max() <= self.scale)


def corners(size: Size) -> FloatArray:
    """(4, 2) pixel coordinates of the corners."""
    right, bottom = size[1] - 1, size[0] - 1
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom]], float)


def move(transform: FloatArray, points: FloatArray) -> FloatArray:
    """(P, 2) points moved by a projective map."""
    moved = np.c_[points, np.ones(len(points))] @ transform.T
    return moved[:, :2] / moved[:, 2:]


def corner_shift(transform: FloatArray, size: Size) -> float:
    """Largest displacement of a corner, px."""
    return float(np.linalg.norm(move(transform, corners(size)) - corners(size), axis=1).max())


def jacobian(transform: FloatArray, point: FloatArray | tuple[float, float]) -> FloatArray:
    """(2, 2) derivative of a projective map at a point."""
    x, y, w = transform @ (*point, 1.0)
    return (transform[:2, :2] - np.outer([x / w, y / w], transform[2, :2])) / w


def centre_motion(transform: FloatArray, size: Size) -> tuple[FloatArray, FloatArray]:
    """Linear part of a motion about the image centre, and the shift of the centre in px."""
    centre = np.asarray(image_centre(size))
    return jacobian(transform, centre), move(transform, centre[None])[0] - centre


def about_centre(linear: FloatArray, shift: FloatArray, size: Size) -> FloatArray:
    """The map that applies a linear part about the image centre and shifts the centre."""
    centre = np.asarray(image_centre(size))
    transform = np.eye(3)
    transform[:2, :2] = linear
    transform[:2, 2] = centre + shift - linear @ centre
    return transform


def nearest_similarity(linear: FloatArray) -> FloatArray:
    """The scaled rotation nearest to a (2, 2) matrix in the least-squares sense (Procrustes)."""
    u, s, vt = np.linalg.svd(linear)
    turn = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    return float((s * np.diag(turn)).sum() / 2) * (u @ turn @ vt)


def project(transform: FloatArray, model: str, size: Size) -> FloatArray:
    """The motion of a simpler model nearest to a map, about the image centre."""
    if model == "homography":
        return transform
    linear, shift = centre_motion(transform, size)
    if model == "none":
        return np.eye(3)
    if model == "translation":
        linear = np.eye(2)
    elif model == "similarity":
        linear = nearest_similarity(linear)
    return about_centre(linear, shift, size)


def to_level(transform: FloatArray, factor: int) -> FloatArray:
    """A full-size map in the pixels of a picture reduced by `factor`, pixel centres kept."""
    level = _level(factor)
    return np.linalg.inv(level) @ transform @ level


def from_level(transform: FloatArray, factor: int) -> FloatArray:
    """The inverse of `to_level`."""
    level = _level(factor)
    return level @ transform @ np.linalg.inv(level)


def _level(factor: int) -> FloatArray:
    half = (factor - 1) / 2
    return np.array([[factor, 0, half], [0, factor, half], [0, 0, 1]], float)


def basis(points: FloatArray, model: str, size: Size) -> FloatArray:
    """Displacement of points per unit of each parameter of a small motion.

    Args:
        points: (P, 2) pixel coordinates.

    Returns:
        (P, 2, D) for shift x, y; growth, turn; stretch, shear; keystone x, y. Coordinates are in half-diagonals.
    """
    half = math.hypot(*size) / 2
    x, y = ((points - image_centre(size)) / half).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    columns = [(one, zero), (zero, one), (x, y), (-y, x), (x, -y), (y, x), (x * x, x * y), (x * y, y * y)]
    return np.array(columns[: DEGREES[model]]).transpose(2, 1, 0)


def small_motion(parameters: FloatArray, size: Size) -> FloatArray:
    """The map whose displacement to first order is `basis` times the parameters (px)."""
    half = math.hypot(*size) / 2
    tx, ty, growth, turn, stretch, shear, key_x, key_y = np.pad(parameters / half, (0, 8 - len(parameters)))
    middle = np.array(
        [[1 + growth + stretch, shear - turn, tx], [shear + turn, 1 + growth - stretch, ty], [-key_x, -key_y, 1]]
    )
    x, y = image_centre(size)
    frame = np.array([[half, 0, x], [0, half, y], [0, 0, 1]])
    moved = frame @ middle @ np.linalg.inv(frame)
    return moved / moved[2, 2]


def similarity_parameters(transform: FloatArray, size: Size) -> FloatArray:
    """Shift x, y of the centre, log of scale and rotation, the latter two in px at the corner."""
    linear, shift = centre_motion(transform, size)
    nearest = nearest_similarity(linear)
    half = math.hypot(*size) / 2
    scale = math.log(math.hypot(nearest[0, 0], nearest[1, 0]))
    return np.array([*shift, half * scale, half * math.atan2(nearest[1, 0], nearest[0, 0])])


def similarity_transform(parameters: FloatArray, size: Size) -> FloatArray:
    """The inverse of `similarity_parameters`."""
    half = math.hypot(*size) / 2
    scale, angle = math.exp(parameters[2] / half), parameters[3] / half
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return about_centre(np.array([[cosine, -sine], [sine, cosine]]), parameters[:2], size)
