"""One folder under data/ holds one set, however many benchmarks use it; a validation split has images."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.data.loading.batches import open_split
from mtcp.data.locks import data_digest, manifest_path, read_lock, require_one_batch, require_validation_images
from mtcp.data.preparation import sets

ROOT = Path(__file__).resolve().parents[3]


def benchmark_like(project: Project, source: str, **changes: object) -> Project:
    """The project with a benchmark `short` more: `source`, which keeps its set, with some changes."""
    content = yaml.safe_load(project.benchmark_path(source).read_text()) | {"data": source} | changes
    project.benchmark_path("short").write_text(yaml.safe_dump(content))
    return Project(project.root)


def test_a_rendered_set_is_shared_whatever_the_tasks(project: Project) -> None:
    changed = benchmark_like(project, "rooms", tasks={"depth": {}}, channels=12)
    assert manifest_path(changed, "short") == manifest_path(changed, "rooms")
    assert sets.prepare(changed, "rooms") == manifest_path(changed, "short"), (
        "what the fetch rule leaves is what is asked"
    )


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"height": 48}, "height"),
        ({"width": 64}, "width"),
        ({"rendered": {"preset": "rooms", "train": 4, "test": 2}}, "rendered"),
        ({"rendered": {"preset": "rooms", "train": 3, "test": 2, "seed": 1}}, "rendered"),
        ({"rendered": None}, "rendered"),
        ({"layout": "mtan_nyuv2"}, "layout"),
    ],
)
def test_a_set_that_two_benchmarks_make_in_two_ways_is_named_when_the_plan_is_made(project, change, key) -> None:
    changed = benchmark_like(project, "rooms", **change)
    with pytest.raises(UserError, match=rf"short.yaml, line \d+, key 'data': data/rooms .* 'rooms', whose {key} is"):
        data_digest(changed, "short")
    assert data_digest(changed, "rooms"), "the owner of the set is not hindered"


def test_an_imported_set_serves_two_sizes(project: Project, tmp_path: Path) -> None:
    (project.root / "data").mkdir()
    (project.root / "data/nyud.lock.json").write_text('{"digest": "0123", "counts": {"train": 795, "val": 654}}')
    changed = benchmark_like(project, "nyud", height=48, width=64)
    assert data_digest(changed, "short") == data_digest(changed, "nyud") == "0123"


def test_of_one_image_none_can_be_kept(project: Project) -> None:
    (project.root / "data").mkdir()
    (project.root / "data/nyud.lock.json").write_text('{"digest": "0123", "counts": {"train": 1, "val": 1}}')
    changed = benchmark_like(project, "nyud", validation_share=0.1, data="nyud")
    with pytest.raises(
        UserError, match=r"0\.1 of 1 training image leaves no image to choose .* by: give 0 for no valid"
    ):
        require_validation_images(changed, "short")


def test_a_validation_share_of_no_image_is_refused_by_plan_and_by_loader(project: Project, config) -> None:
    changed = benchmark_like(project, "rooms", validation_share=0.1)
    said = r"short.yaml, line \d+, key 'validation_share': 0.1 of 3 training images .* give 0.34 or more"
    with pytest.raises(UserError, match=said):
        require_validation_images(changed, "short")
    require_validation_images(benchmark_like(project, "rooms", validation_share=0.34), "short")
    folder = sets.render(project, "rooms")
    assert len(open_split(config("rooms", validation_share=0.34), folder, "validation")) == 1
    for split in ("validation", "train"):
        share = 0.1 if split == "validation" else 0.9
        with pytest.raises(UserError, match=f"{share} of 3 training images leaves none to '{split}'"):
            open_split(config("rooms", validation_share=share), folder, split)


def test_a_batch_of_more_images_than_there_are_is_refused_before_there_are_data(project: Project) -> None:
    training = yaml.safe_load(project.benchmark_path("rooms").read_text())["training"]
    for size, refused in ((3, False), (4, True)):
        changed = benchmark_like(project, "rooms", training={**training, "batch_size": size})
        method = next(name for name in changed.methods if "batch_size" not in changed.method(name).training)
        config = changed.resolve("short", method, 0)
        said = r"has 3 images, fewer than one batch \(4\): lower training.batch_size in config/benchmarks/short.yaml"
        with pytest.raises(UserError, match=said) if refused else nullcontext():
            require_one_batch(changed, config)


@pytest.mark.parametrize("path", sorted((ROOT / "data").glob("*.lock.json")), ids=lambda path: path.name)
def test_a_lock_without_a_digest_names_the_command_that_makes_its_own_set(path):
    lock = json.loads(path.read_text())
    assert path.name == f"{lock['name']}.lock.json"
    if lock["digest"] is None:
        words = lock["note"].split()
        assert lock["name"] in words, lock["note"]


def test_the_committed_locks_of_rendered_sets_are_of_the_present_renderer_and_settings(root: Path) -> None:
    """`mtcp data render NAME` renews one."""
    project = Project(root)
    rendered = [name for name in project.benchmark_names() if project.benchmark(name).rendered is not None]
    assert {project.data_name(name) for name in rendered} == {"rooms", "people"}
    for name in rendered:
        lock = read_lock(project, project.data_name(name))
        assert lock is not None and lock["inputs"] == data_digest(project, name), name
