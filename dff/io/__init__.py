"""The only reader and writer of files: stacks, images, geometry tables, alignments, results, scratch."""

from __future__ import annotations

from dff.io.alignments import read_alignment, write_alignment
from dff.io.atomic import atomic_folder, atomic_path, check_space, read_json, write_bytes, write_json
from dff.io.checkpoints import append_line, read_lines, read_rows, write_rows
from dff.io.checks import FrameError, check_frame
from dff.io.edits import edits_content, edits_from, read_edits, write_edits
from dff.io.films import write_film
from dff.io.formats import decoding_bytes
from dff.io.images import read_image
from dff.io.listing import files_of, list_stacks
from dff.io.maps import read_description, read_map, write_grid, write_map
from dff.io.metadata import read_metadata
from dff.io.pictures import picture_suffix, write_image
from dff.io.results import (
    ResultPaths,
    check_output,
    clear_result,
    library_versions,
    read_fingerprint,
    read_reconstruction,
    result_paths,
    write_reconstruction,
)
from dff.io.scenes import check_scene_output, write_geometry, write_scene
from dff.io.scratch import ScratchStack, clear_scratch, temporary_folder
from dff.io.stacks import read_stack, reopen_frames
from dff.io.staging import clear_path, clear_work, link_file, link_tree, staged_folder
from dff.io.surfaces import write_mesh, write_points
from dff.io.tables import FocusTable, read_focus_table, read_geometry

__all__ = [
    "FocusTable",
    "FrameError",
    "ResultPaths",
    "ScratchStack",
    "append_line",
    "atomic_folder",
    "atomic_path",
    "check_frame",
    "check_output",
    "check_scene_output",
    "check_space",
    "clear_path",
    "clear_result",
    "clear_scratch",
    "clear_work",
    "decoding_bytes",
    "edits_content",
    "edits_from",
    "files_of",
    "library_versions",
    "link_file",
    "link_tree",
    "list_stacks",
    "picture_suffix",
    "read_alignment",
    "read_description",
    "read_edits",
    "read_fingerprint",
    "read_focus_table",
    "read_geometry",
    "read_image",
    "read_json",
    "read_lines",
    "read_map",
    "read_metadata",
    "read_reconstruction",
    "read_rows",
    "read_stack",
    "reopen_frames",
    "result_paths",
    "staged_folder",
    "temporary_folder",
    "write_alignment",
    "write_bytes",
    "write_edits",
    "write_film",
    "write_geometry",
    "write_grid",
    "write_image",
    "write_json",
    "write_map",
    "write_mesh",
    "write_points",
    "write_reconstruction",
    "write_rows",
    "write_scene",
]
