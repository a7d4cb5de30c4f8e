"""Peak memory of whole reconstructions, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import os, resource, sys
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
import numpy as np
from dff import pipeline
from dff.settings import Settings
from dff.stack import FocalStack, ImageMetadata

class Sweep:
    '''Noise that is sharp in one band of rows after the other.'''
    def __init__(self, count, size):
        self.count, self.size = count, size
    def __len__(self):
        return self.count
    def __getitem__(self, k):
        frame = np.random.default_rng(0).integers(0, 255, (*self.size, 3), np.uint8)
        rows = np.arange(self.size[0]) * self.count // self.size[0]
        frame[rows != k] //= 16
        return frame

count, size = int(sys.argv[1]), (2000, 3000)
names = tuple(f"{k:03}.png" for k in range(count))
stack = FocalStack(Sweep(count, size), names, (*size, 3), np.dtype(np.uint8), ImageMetadata())
settings = Settings(align="none", brightness="none", measure=sys.argv[3])
predicted = pipeline.plan_for(stack, settings).memory_gb
pipeline.reconstruct_to_folder(stack, sys.argv[2], settings)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, predicted)
"""


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["ring-difference", "sesf-stack"])
def test_memory_is_flat_in_the_number_of_frames(tmp_path: Path, measure: str) -> None:
    """8, 32 and 128 frames of 6 MP peak within a tenth of each other, and of what was predicted within 30 %."""
    peaks = []
    for count in (8, 32, 128):
        command = [sys.executable, "-W", "ignore", "-c", RUN, str(count), str(tmp_path / str(count)), measure]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peak, predicted = map(float, told.split())
        assert predicted == pytest.approx(peak, rel=0.3)
        peaks.append(peak)
    assert max(peaks) < 1.1 * min(peaks)
    assert max(peaks) < 2.5
