"""Evaluation holds one batch and the statistics: its peak does not grow with the number of images."""

import subprocess
import sys

import pytest

MEASURE = """
import torch
from mtcp.core.run_config import EvaluationConfig
from mtcp.data.loading.batches import Batch
from mtcp.evaluation.evaluate import evaluate
from mtcp.metrics.meters import meter
from mtcp.models.architecture import Architecture
from mtcp.core.tasks import make_task
from mtcp.core.usage import peak_memory_mb

SIZE = (160, 213)
TASKS = (make_task("semseg", classes=40), make_task("depth"), make_task("normals"))
METERS = {task.name: meter(task, EvaluationConfig()) for task in TASKS}

class Constant(Architecture):
    def encode(self, image):
        return image

    def decode(self, representation, size):
        return {task.name: {"final": torch.ones(1, task.channels, *size)} for task in TASKS}

def batches(images):
    for number in range(images):
        semseg, depth, normals = torch.zeros(1, *SIZE).long(), torch.ones(1, 1, *SIZE), torch.ones(1, 3, *SIZE)
        yield Batch((str(number),), torch.zeros(1, 3, *SIZE), {"semseg": semseg, "depth": depth, "normals": normals})

for images in (50, 600):
    assert len(evaluate(Constant(), METERS, batches(images), "cpu").ids) == images
    print(1024 * peak_memory_mb("cpu"))
"""


@pytest.mark.slow
def test_the_peak_of_evaluation_does_not_grow_with_the_number_of_images():
    # 550 images more: 11 MB of statistics, twice that while their arrays are enlarged. Kept images would be 220 MB
    # and kept predictions 3,300; the rest is the C library's to place.
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    few, many = map(float, done.stdout.split())
    assert many - few < 550 * 2 * 30 + 30_000
