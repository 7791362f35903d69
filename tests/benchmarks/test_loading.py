"""Speed of data: ratios and images per second in one run; nothing here passes or fails on time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mtcp.config import Project, RunConfig
from mtcp.data import loading
from mtcp.data.loading import open_split, training_batches
from mtcp.data.render import RenderSettings, picture, render_set

SIZES = {"48x64": (48, 64), "96x128": (96, 128), "240x320": (240, 320), "480x640": (480, 640)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=SIZES, ids=str)
def made(request, tmp_path_factory, pytestconfig) -> tuple[Path, Callable[..., RunConfig]]:
    """A rendered set of 16 images, and the configuration of `rooms` at its size."""
    height, width = SIZES[request.param]
    folder = tmp_path_factory.mktemp("data") / "rooms"
    render_set(RenderSettings(preset="rooms", train=16, test=1), height, width, folder)
    base = Project(pytestconfig.rootpath).resolve("rooms", "mtcp", 0)
    small = base.training.model_copy(update={"batch_size": 2})
    return folder, base.model_copy(update={"height": height, "width": width, "training": small})


@pytest.mark.parametrize("size", SIZES)
def test_rendering(benchmark, size: str):
    settings, count = RenderSettings(preset="rooms", train=8, test=1), 8
    benchmark.pedantic(
        lambda: [picture(settings, f"{k:04d}", *SIZES[size]) for k in range(1, count + 1)], rounds=3, warmup_rounds=1
    )
    benchmark.extra_info["images_per_second"] = count / benchmark.stats["min"]


def test_training_batches_from_the_packed_file(benchmark, made, monkeypatch):
    folder, config = made
    monkeypatch.setattr(loading, "_IN_MEMORY", 0)
    split = open_split(config, folder, "train")
    benchmark.pedantic(lambda: list(training_batches(split, config, 0)), rounds=5, warmup_rounds=1)
    benchmark.extra_info["images_per_second"] = len(split) / benchmark.stats["min"]


def test_reading_alone_from_the_packed_file(benchmark, made, monkeypatch):
    """What the processor does where a GPU augments."""
    folder, config = made
    monkeypatch.setattr(loading, "_IN_MEMORY", 0)
    steps = loading._Epoch(open_split(config, folder, "train"), config, 0)
    benchmark.pedantic(lambda: [steps[k] for k in range(len(steps))], rounds=5, warmup_rounds=1)
    benchmark.extra_info["images_per_second"] = 16 / benchmark.stats["min"]


def test_decoding_every_file_again(benchmark, made):
    """The released code's way: read and decode the files of every image at every step."""
    folder, config = made
    split = open_split(config, folder, "train")
    benchmark.pedantic(
        lambda: [loading._sample(split.layout, config, image_id) for image_id in split.ids], rounds=3, warmup_rounds=1
    )
    benchmark.extra_info["images_per_second"] = 16 / benchmark.stats["min"]
