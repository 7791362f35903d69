"""Speed of data: ratios and images per second in one run; nothing here passes or fails on time."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtcp.core.project import Project
from mtcp.core.randomness import stream
from mtcp.core.rendered import RenderSettings
from mtcp.core.run_config import RunConfig
from mtcp.core.tasks import VOID
from mtcp.data.loading import batches as batches_module
from mtcp.data.loading.augment import Transform, draw_transform
from mtcp.data.loading.batches import open_split, training_batches
from mtcp.data.rendering.render import picture, render_set

# Processor time, so that other work on the machine counts as little as can be.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

IMAGES = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {"48x64": (48, 64), "96x128": (96, 128), "240x320": (240, 320), "480x640": (480, 640)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=SIZES, ids=str)
def made(request, tmp_path_factory, pytestconfig) -> tuple[Path, Callable[..., RunConfig]]:
    """A rendered set of 16 images, and the configuration of `rooms` at its size."""
    height, width = SIZES[request.param]
    folder = tmp_path_factory.mktemp("data") / "rooms"
    render_set(RenderSettings(preset="rooms", train=IMAGES, test=1), height, width, folder)
    base = Project(pytestconfig.rootpath).resolve("rooms", "mtcp", 0)
    assert base.augmentation.policy == "nyud"
    small = base.training.model_copy(update={"batch_size": 2})
    return folder, base.model_copy(update={"height": height, "width": width, "training": small})


@pytest.mark.parametrize("size", SIZES)
def test_rendering(benchmark, size: str):
    settings, count = RenderSettings(preset="rooms", train=8, test=1), 8
    benchmark.pedantic(
        lambda: [picture(settings, f"{k:04d}", *SIZES[size]) for k in range(1, count + 1)], rounds=3, warmup_rounds=1
    )
    benchmark.extra_info["images_per_second"] = count / benchmark.stats["min"]


def rate(benchmark, work: Callable[[], object]) -> None:
    """Run `work`, which makes all images, and note how many a second it makes."""
    benchmark.pedantic(work, rounds=7, warmup_rounds=1)
    benchmark.extra_info["images_per_second"] = round(IMAGES / benchmark.stats["median"], 1)


def test_training_batches_from_the_packed_file(benchmark, made, monkeypatch):
    folder, config = made
    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    split = open_split(config, folder, "train")
    rate(benchmark, lambda: list(training_batches(split, config, 0)))


def test_training_batches_from_files(benchmark, made):
    """The files of every image are read and decoded again, then augmented as above."""
    folder, config = made
    split = open_split(config, folder, "train")

    def read(image_id: str) -> dict[str, torch.Tensor]:
        planes = batches_module._sample(split.layout, config, image_id)
        return {name: torch.from_numpy(batches_module._to_nchw(plane))[None] for name, plane in planes.items()}

    def batches() -> None:
        for k, image_id in enumerate(split.ids):
            batches_module._augmented(
                batches_module._Raw((image_id,), (split.aspects[k],), read(image_id)), config, 0, "cpu"
            )

    rate(benchmark, batches)


def test_reading_alone_from_the_packed_file(benchmark, made, monkeypatch):
    """What the processor does where a GPU augments."""
    folder, config = made
    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    steps = batches_module._Epoch(open_split(config, folder, "train"), config, 0)
    rate(benchmark, lambda: [steps[k] for k in range(len(steps))])


def test_decoding_alone(benchmark, made):
    folder, config = made
    split = open_split(config, folder, "train")
    rate(benchmark, lambda: [batches_module._sample(split.layout, config, image_id) for image_id in split.ids])


def test_a_plain_pipeline(benchmark, made):
    """The released code's way, plainly: decode the files of every image, warp each with Pillow, make tensors."""
    folder, config = made
    split = open_split(config, folder, "train")

    def warped(array: np.ndarray, transform: Transform, method: Image.Resampling) -> np.ndarray:
        if array.ndim == 3 and array.dtype != np.uint8:
            return np.stack([warped(plane, transform, method) for plane in np.moveaxis(array, -1, 0)], axis=-1)
        picture = Image.fromarray(array)
        if transform.scale != 1:
            (width, height), zoom = picture.size, transform.scale
            left, top = width * (1 - 1 / zoom) / 2, height * (1 - 1 / zoom) / 2
            coefficients = (1 / zoom, 0, left, 0, 1 / zoom, top)
            picture = picture.transform(picture.size, Image.Transform.AFFINE, coefficients, method)
        if transform.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(picture)

    def tensors(image_id: str) -> dict[str, torch.Tensor]:
        sample = batches_module._sample(split.layout, config, image_id)
        seed = stream(config.benchmark, config.seed, "augmentation", 0, image_id)
        transform = draw_transform(config.augmentation.policy, seed)
        for name, array in sample.items():
            method = Image.Resampling.BICUBIC if name == "image" else Image.Resampling.NEAREST
            sample[name] = warped(array, transform, method)
        sample["image"] = (sample["image"].astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        sample["depth"] = np.where(sample["depth"] == VOID, VOID, sample["depth"] / transform.zoom)
        sample["semseg"] = sample["semseg"].astype(np.int64)
        return {
            name: torch.from_numpy(np.ascontiguousarray(batches_module._to_nchw(array)))
            for name, array in sample.items()
        }

    rate(benchmark, lambda: [tensors(image_id) for image_id in split.ids])
