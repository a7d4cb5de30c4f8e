"""Pictures to look at: height in colour, confidence, relief, contact sheet, a still of the mesh."""

from __future__ import annotations

from dff.preview.maps import confidence_picture, depth_picture, relief_picture
from dff.preview.sheet import contact_sheet, thumbnail
from dff.preview.still import render_still, render_views, view_of

__all__ = [
    "confidence_picture",
    "contact_sheet",
    "depth_picture",
    "relief_picture",
    "render_still",
    "render_views",
    "thumbnail",
    "view_of",
]
