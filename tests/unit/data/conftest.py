"""Small data sets in the exact on-disk form of both layouts, and a project to put them into."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import savemat

from mtcp.core.project import Project
from mtcp.core.run_config import RunConfig

HEIGHT, WIDTH = 24, 32


def nyud_arrays(number: int) -> dict[str, np.ndarray]:
    """One frame of a slanted floor below a wall, void in the corner."""
    rows = np.arange(HEIGHT)[:, None].repeat(WIDTH, axis=1)
    labels = np.where(rows < HEIGHT // 2, 1, 2).astype(np.uint8)
    labels[6:12, 4 + number : 12 + number] = 5
    labels[0, 0] = 0
    depth = np.where(rows < HEIGHT // 2, 3.0, 36.0 / np.maximum(rows, 1)).astype(np.float32)
    depth[labels == 5] = 2.0
    depth[0, 1] = 0.0
    normals = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    normals[..., 2] = -1.0
    normals[rows >= HEIGHT // 2] = (0.0, -1.0, 0.0)
    normals[0, 2] = 0.0
    edge = np.zeros((HEIGHT, WIDTH), np.float32)
    edge[HEIGHT // 2] = 1.0
    image = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return {"image": image, "labels": labels, "depth": depth, "normals": normals, "edge": edge}


@pytest.fixture
def nyud(tmp_path: Path) -> Path:
    """NYUD_MT as it circulates: JPEG, 8-bit labels, .npy depth in metres, .npy normals and edges; 4 + 2 frames."""
    folder = tmp_path / "NYUD_MT"
    for name in ("images", "segmentation", "depth", "normals", "edge", "gt_sets"):
        (folder / name).mkdir(parents=True)
    for number in range(1, 7):
        frame, stem = nyud_arrays(number), f"{number:04d}"
        Image.fromarray(frame["image"]).save(folder / f"images/{stem}.jpg")
        Image.fromarray(frame["labels"]).save(folder / f"segmentation/{stem}.png")
        for name in ("depth", "normals", "edge"):
            np.save(folder / f"{name}/{stem}.npy", frame[name])
    (folder / "gt_sets/train.txt").write_text("0001\n0002\n0003\n0004\n")
    (folder / "gt_sets/val.txt").write_text("0005\n0006\n")
    return folder


def parts_mat(path: Path, height: int, width: int, *, person: bool = True) -> None:
    """A PASCAL-Part file: a dog, and a person of head, neck, hand and lower leg; lists of structs as MATLAB saves."""

    def mask(rows: slice, columns: slice) -> np.ndarray:
        filled = np.zeros((height, width), np.uint8)
        filled[rows, columns] = 1
        return filled

    def part(name: str, *where: slice) -> dict:
        return {"part_name": name, "mask": mask(*where)}

    dog = {
        "class": "dog", "class_ind": 12, "mask": mask(slice(0, 4), slice(0, 4)),
        "parts": [part("head", slice(0, 2), slice(0, 4)), part("tail", slice(2, 4), slice(0, 4))],
    }  # fmt: skip
    someone = {
        "class": "person", "class_ind": 15, "mask": mask(slice(4, 20), slice(8, 16)),
        "parts": [
            part("head", slice(4, 8), slice(8, 16)), part("neck", slice(8, 10), slice(8, 16)),
            part("lhand", slice(10, 12), slice(8, 16)), part("rlleg", slice(12, 20), slice(8, 16)),
        ],
    }  # fmt: skip
    objects = [dog, someone] if person else [dog, dog]
    savemat(path, {"anno": {"imname": path.stem, "objects": _struct_array(objects)}})


def _struct_array(entries: list[dict]) -> np.ndarray:
    """A MATLAB struct array (1, N), the form in which PASCAL-Part holds objects and parts."""
    array = np.zeros((1, len(entries)), dtype=[(name, object) for name in entries[0]])
    for k, entry in enumerate(entries):
        for name, value in entry.items():
            array[0, k][name] = _struct_array(value) if isinstance(value, list) else value
    return array


@pytest.fixture
def pascal(tmp_path: Path) -> Path:
    """PASCAL_MT as it circulates: images of different sizes, parts and boundaries as .mat, network output as PNG."""
    folder = tmp_path / "PASCAL_MT"
    for name in (
        "JPEGImages", "ImageSets/Context", "semseg/VOC12", "semseg/pascal-context", "human_parts", "sal_distill",
        "normals_distill", "pascal-context/trainval",
    ):  # fmt: skip
        (folder / name).mkdir(parents=True)
    for number in range(1, 7):
        height, width, stem = (24, 32, f"2008_00000{number}") if number % 2 else (30, 20, f"2008_00000{number}")
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(
            folder / f"JPEGImages/{stem}.jpg"
        )
        labels = np.zeros((height, width), np.uint8)
        labels[4:20, 8:16] = 15
        labels[4, 8:16] = 255
        place = "semseg/VOC12" if number != 3 else "semseg/pascal-context"
        Image.fromarray(labels).save(folder / f"{place}/{stem}.png")
        parts_mat(folder / f"human_parts/{stem}.mat", height, width, person=number != 4)
        salient = np.where(labels == 15, 200, 40).astype(np.uint8)
        Image.fromarray(salient).save(folder / f"sal_distill/{stem}.png")
        normals = np.full((height, width, 3), (128, 128, 255), np.uint8)
        normals[0, 0] = (127, 128, 127)
        Image.fromarray(normals).save(folder / f"normals_distill/{stem}.png")
        context = np.where(labels == 15, 15, 2).astype(np.uint16)
        savemat(folder / f"pascal-context/trainval/{stem}.mat", {"LabelMap": context})
    (folder / "ImageSets/Context/train.txt").write_text("".join(f"2008_00000{k}\n" for k in (1, 2, 3, 4)))
    (folder / "ImageSets/Context/val.txt").write_text("".join(f"2008_00000{k}\n" for k in (5, 6)))
    return folder


def benchmark_file(layout: str, **changes: object) -> dict:
    """A benchmark's settings, small."""
    tasks = {
        "nyud": {"semseg": {"classes": 40}, "depth": {}, "normals": {}, "edge": {"positive_weight": 0.8}},
        "pascal": {"semseg": {"classes": 21}, "human_parts": {}, "sal": {}, "normals": {}, "edge": {}},
    }
    return {
        "label": layout, "layout": layout, "tasks": tasks[layout], "height": HEIGHT, "width": WIDTH,
        "encoder": {"kind": "timm", "model": "resnet18"}, "augmentation": {"policy": layout},
        "training": {"epochs": 2, "batch_size": 2}, "evaluation": {"batch_size": 2}, **changes,
    }  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project folder with the benchmarks nyud, pascal, and two tiny rendered ones."""
    root = tmp_path / "project"
    (root / "config/benchmarks").mkdir(parents=True)
    rendered = {preset: {"preset": preset, "train": 3, "test": 2} for preset in ("rooms", "people")}
    files = {
        "nyud": benchmark_file("nyud"),
        "pascal": benchmark_file("pascal"),
        "rooms": benchmark_file("nyud", rendered=rendered["rooms"]),
        "people": benchmark_file("pascal", rendered=rendered["people"]),
    }
    for name, content in files.items():
        (root / f"config/benchmarks/{name}.yaml").write_text(yaml.safe_dump(content))
    methods = {"mtcp": {"label": "MT-CP", "family": "reference", "architecture": {"name": "mtcp"}}}
    (root / "config/methods.yaml").write_text(yaml.safe_dump(methods))
    return Project(root)


@pytest.fixture
def config(project: Project) -> Callable[..., RunConfig]:
    """Resolved configuration of a benchmark, with changes to it."""

    def make(benchmark: str = "nyud", seed: int = 0, **changes: object) -> RunConfig:
        return project.resolve(benchmark, "mtcp", seed).model_copy(update=changes)

    return make


@pytest.fixture
def frame() -> Callable[[int], dict[str, np.ndarray]]:
    """The arrays of frame `number` of `nyud`."""
    return nyud_arrays


@pytest.fixture
def write_parts() -> Callable[..., None]:
    """Write a PASCAL-Part file."""
    return parts_mat
