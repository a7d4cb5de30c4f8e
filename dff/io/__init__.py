"""The only reader and writer of files: stacks, images, geometry tables, alignments, results, scratch."""

from __future__ import annotations

from dff.io.checks import FrameError, check_frame
from dff.io.images import read_image
from dff.io.metadata import read_metadata
from dff.io.scratch import ScratchStack
from dff.io.stacks import read_stack

__all__ = ["FrameError", "ScratchStack", "check_frame", "read_image", "read_metadata", "read_stack"]
