"""Batches: deterministic, resumable; evaluation as the images are."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.run_config import AugmentationConfig, RunConfig, TaskConfig, TrainingConfig
from mtcp.data.formats import packaging
from mtcp.data.loading import batches as batches_module
from mtcp.data.loading.batches import (
    Batch,
    drawn_batch,
    evaluation_batches,
    open_split,
    require_readable,
    resize,
    steps_per_epoch,
    training_batches,
)

Make = Callable[..., RunConfig]


def equal(a: Batch, b: Batch) -> bool:
    return (
        a.ids == b.ids
        and torch.equal(a.image, b.image)
        and all(torch.equal(target, b.targets[name]) for name, target in a.targets.items())
    )


def test_training_batches_have_the_declared_form(nyud: Path, config: Make):
    split = open_split(config(), nyud, "train")
    batches = list(training_batches(split, config(), epoch=0))
    assert len(batches) == steps_per_epoch(split, config()) == 2
    for batch in batches:
        assert batch.image.shape == (2, 3, 24, 32) and batch.image.dtype == torch.float32
        assert batch.targets["semseg"].shape == (2, 24, 32) and batch.targets["semseg"].dtype == torch.int64
        shapes = {name: tuple(batch.targets[name].shape) for name in ("depth", "normals", "edge")}
        assert shapes == {"depth": (2, 1, 24, 32), "normals": (2, 3, 24, 32), "edge": (2, 1, 24, 32)}
        assert set(batch.targets["semseg"].unique().tolist()) <= {0, 1, 4, 255}
        length = batch.targets["normals"].norm(dim=1)
        assert (((length - 1).abs() < 2e-3) | (batch.targets["normals"][:, 0] == 255)).all()
    assert sorted(i for batch in batches for i in batch.ids) == sorted(split.ids)


def test_batches_depend_on_seed_and_epoch_only(nyud: Path, config: Make):
    def epoch(number: int, seed: int = 0) -> list[Batch]:
        made = config(seed=seed)
        return list(training_batches(open_split(made, nyud, "train"), made, number))

    first = epoch(0)
    assert all(equal(a, b) for a, b in zip(first, epoch(0), strict=True))
    assert not all(equal(a, b) for a, b in zip(first, epoch(1), strict=True))
    assert not all(equal(a, b) for a, b in zip(first, epoch(0, seed=1), strict=True))


def test_an_epoch_goes_on_where_it_stopped(nyud: Path, config: Make):
    split = open_split(config(), nyud, "train")
    whole = list(training_batches(split, config(), 3))
    assert equal(next(iter(training_batches(split, config(), 3, start=1))), whole[1])
    assert list(training_batches(split, config(), 3, start=2)) == []


def test_shares_are_the_batch_in_equal_parts(nyud: Path, config: Make):
    split = open_split(config(), nyud, "train")
    shares = [training_batches(split, config(), 0, share=(rank, 2)) for rank in (0, 1)]
    for whole, *parts in zip(training_batches(split, config(), 0), *shares, strict=True):
        assert [len(part.ids) for part in parts] == [1, 1]
        joined = {name: torch.cat([part.targets[name] for part in parts]) for name in whole.targets}
        ids, image = sum((part.ids for part in parts), ()), torch.cat([part.image for part in parts])
        assert equal(Batch(ids, image, joined), whole)


def test_the_method_does_not_enter(nyud: Path, config: Make):
    one, other = config(), config(method="another")
    a = next(iter(training_batches(open_split(one, nyud, "train"), one, 0)))
    b = next(iter(training_batches(open_split(other, nyud, "train"), other, 0)))
    assert equal(a, b)


def test_validation_is_a_fixed_share_of_the_training_list(nyud: Path, config: Make):
    (nyud / "gt_sets/train.txt").write_text("".join(f"{k:04d}\n" for k in range(1, 201)))
    whole = open_split(config(validation_share=0.0), nyud, "train").ids
    parts = [
        [open_split(config(seed=seed, validation_share=0.25), nyud, name).ids for name in ("train", "validation")]
        for seed in (0, 7)
    ]
    assert parts[0] == parts[1]
    train, validation = parts[0]
    assert len(validation) == 50 and not set(train) & set(validation)
    assert [i for i in whole if i not in set(validation)] == list(train)


def test_evaluation_shows_every_image_once_as_it_is(nyud: Path, config: Make):
    made = config(evaluation=config().evaluation.model_copy(update={"batch_size": 4}))
    split = open_split(made, nyud, "train")
    batches = list(evaluation_batches(split, made))
    assert [batch.ids for batch in batches] == [split.ids]
    raw = split.layout.image("0002").astype(np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(batches[0].image[1].movedim(0, -1).numpy(), (raw - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(batches[0].targets["depth"][1, 0].numpy(), split.layout.target("depth", "0002"))


def test_a_drawn_batch_has_distinct_images_as_they_are_and_depends_on_its_number(nyud: Path, config: Make):
    split = open_split(config(), nyud, "train")
    plain = {
        image_id: (batch.image[k], batch.targets["depth"][k])
        for batch in evaluation_batches(split, config())
        for k, image_id in enumerate(batch.ids)
    }
    drawn = [drawn_batch(split, config(), number) for number in range(12)]
    assert len({batch.ids for batch in drawn}) > 2 and equal(drawn[3], drawn_batch(split, config(), 3))
    for batch in drawn:
        assert len(batch.ids) == 2 and split.ids.index(batch.ids[0]) < split.ids.index(batch.ids[1])
        for k, image_id in enumerate(batch.ids):
            torch.testing.assert_close(batch.image[k], plain[image_id][0])
            assert torch.equal(batch.targets["depth"][k], plain[image_id][1])


def test_a_recorded_size_takes_the_short_way_to_the_same_batches(nyud: Path, config: Make):
    slow = list(evaluation_batches(open_split(config(), nyud, "train"), config()))
    packaging.write(nyud, {"layout": "nyud", "size": [24, 32]})
    quick = list(evaluation_batches(open_split(config(), nyud, "train"), config()))
    assert all(equal(a, b) for a, b in zip(slow, quick, strict=True))


def test_evaluation_keeps_targets_at_their_size_and_sizes_apart(pascal: Path, config: Make):
    made = config("pascal", height=16, width=16)
    batches = list(evaluation_batches(open_split(made, pascal, "train"), made))
    assert [len(batch.ids) for batch in batches] == [1, 1, 1, 1]
    assert all(batch.image.shape[-2:] == (16, 16) for batch in batches)
    assert [tuple(batch.targets["semseg"].shape[-2:]) for batch in batches] == [(24, 32), (30, 20)] * 2
    assert [i for batch in batches for i in batch.ids] == list(open_split(made, pascal, "train").ids)


def test_pascal_trains_at_network_size(pascal: Path, config: Make):
    made = config("pascal", height=16, width=16)
    split = open_split(made, pascal, "train")
    for batch in training_batches(split, made, 0):
        assert batch.image.shape == (2, 3, 16, 16)
        assert batch.targets["human_parts"].shape == (2, 16, 16)
        assert set(batch.targets["sal"].unique().tolist()) <= {0.0, 1.0, 255.0}
    assert split.aspects == [32 / 24, 20 / 30, 32 / 24, 20 / 30]


def test_without_augmentation_images_are_only_shuffled(nyud: Path, config: Make):
    made = config(augmentation=AugmentationConfig(policy="none"))
    split = open_split(made, nyud, "train")
    batch = next(iter(training_batches(split, made, 0)))
    index = split.ids.index(batch.ids[0])
    np.testing.assert_allclose(
        batch.targets["depth"][0, 0].numpy(), split.layout.target("depth", split.ids[index]), atol=1e-6
    )


def test_a_large_split_is_packed_once_and_gives_the_same_batches(nyud: Path, config: Make, monkeypatch):
    def epoch() -> list[Batch]:
        return list(training_batches(open_split(config(), nyud, "train"), config(), 0))

    in_memory = epoch()
    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    packed = epoch()
    assert all(equal(a, b) for a, b in zip(in_memory, packed, strict=True))
    (file,) = (nyud.parent / ".packed").glob("*.npy")
    written = file.stat().st_mtime_ns
    epoch()
    assert file.stat().st_mtime_ns == written
    np.save(nyud / "depth/0002.npy", np.full((24, 32), 9.0, np.float32))
    changed = epoch()
    assert not all(equal(a, b) for a, b in zip(packed, changed, strict=True))
    assert not file.exists() and len(list((nyud.parent / ".packed").glob("*.npy"))) == 1


def test_decoding_code_and_other_tasks_have_packed_files_of_their_own(nyud: Path, config: Make, monkeypatch):
    def packed(*tasks: str) -> set[Path]:
        given = config() if not tasks else config(tasks={name: config().tasks[name] for name in tasks})
        list(training_batches(open_split(given, nyud, "train"), given, 0))
        return set((nyud.parent / ".packed").glob("*.npy"))

    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    whole = packed()
    both = packed("depth")
    assert len(both) == 2 and whole < both, "another benchmark of the same set takes nobody's file away"
    monkeypatch.setattr("mtcp.data.loading.cache.code_digest", lambda entries: "other code")
    assert len(packed()) == 2 and not whole & packed(), "decoded by other code: packed again"


@pytest.mark.parametrize("damage", ["flipped", "halved", "removed"])
def test_a_damaged_packed_file_is_packed_again(nyud: Path, config: Make, monkeypatch, damage: str):
    def epoch() -> list[Batch]:
        return list(training_batches(open_split(config(), nyud, "train"), config(), 0))

    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    packed = epoch()
    (file,) = (nyud.parent / ".packed").glob("*.npy")
    content = bytearray(file.read_bytes())
    file.unlink()
    if damage != "removed":
        content[len(content) // 2] ^= 1
        file.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    assert all(equal(a, b) for a, b in zip(packed, epoch(), strict=True))


def test_packing_that_fails_leaves_nothing(nyud: Path, config: Make, monkeypatch):
    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    (nyud / "images/0004.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="image '0004'"):
        next(iter(training_batches(open_split(config(), nyud, "train"), config(), 0)))
    assert not list((nyud.parent / ".packed").glob("*.npy"))


def test_packing_on_a_full_disk_is_one_sentence(nyud: Path, config: Make, monkeypatch):
    """The blocks are asked for first: a memory map that meets a full disk kills the process (SIGBUS)."""

    def full(*arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(batches_module, "_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"cannot write .*\.packed/.*No space left on device; free space"):
        next(iter(training_batches(open_split(config(), nyud, "train"), config(), 0)))
    assert not list((nyud.parent / ".packed").glob("*.npy"))


def test_resizing_takes_the_nearest_target_and_a_smooth_image():
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(resize("semseg", labels, 2, 2), [[5, 7], [13, 15]])
    np.testing.assert_array_equal(resize("semseg", np.arange(5)[:, None], 3, 2), [[0, 0], [2, 2], [4, 4]])
    flat = np.full((8, 8, 3), 90, np.uint8)
    assert (resize("image", flat, 5, 3) == 90).all()


class TestBadInput:
    def test_a_split_smaller_than_a_batch(self, nyud: Path, config: Make):
        made = config(training=TrainingConfig(epochs=1, batch_size=5))
        with pytest.raises(UserError, match=r"'train' of nyud has 4 images, fewer than one batch \(5\)"):
            steps_per_epoch(open_split(made, nyud, "train"), made)

    def test_a_class_beyond_the_declared_ones(self, nyud: Path, config: Make):
        made = config(tasks={"semseg": TaskConfig(classes=3)})
        with pytest.raises(UserError, match=r"image '0001': semseg has class 4, the benchmark declares 3 classes"):
            next(iter(training_batches(open_split(made, nyud, "train"), made, 0)))

    def test_a_target_of_another_size(self, nyud: Path, config: Make):
        np.save(nyud / "depth/0003.npy", np.ones((32, 24), np.float32))
        with pytest.raises(UserError, match=r"image '0003': depth is 32x24, the image 24x32"):
            next(iter(training_batches(open_split(config(), nyud, "train"), config(), 0)))

    def test_some_images_of_every_split_are_read_beforehand(self, nyud: Path, config: Make):
        for split in ("train", "test"):
            require_readable(open_split(config(), nyud, split))
        (nyud / "images/0006.jpg").write_text("no picture")
        require_readable(open_split(config(), nyud, "train"))
        with pytest.raises(UserError, match="0006"):
            require_readable(open_split(config(), nyud, "test"))

    def test_a_truncated_image(self, nyud: Path, config: Make):
        (nyud / "images/0006.jpg").write_bytes(b"\xff\xd8\xff")
        with pytest.raises(UserError, match=r"image '0006'.*cannot be decoded"):
            list(evaluation_batches(open_split(config(), nyud, "test"), config()))

    def test_no_data(self, tmp_path: Path, config: Make):
        with pytest.raises(UserError, match="no data in"):
            open_split(config(), tmp_path / "absent", "train")


def test_an_image_of_one_pixel_is_read_and_resized(nyud: Path, config: Make):
    """Import refuses it; a reader must not crash on it."""
    made = config(tasks={"depth": TaskConfig()})
    for k in range(1, 5):
        Image.new("RGB", (1, 1)).save(nyud / f"images/000{k}.jpg")
        np.save(nyud / f"depth/000{k}.npy", np.ones((1, 1), np.float32))
    batch = next(iter(training_batches(open_split(made, nyud, "train"), made, 0)))
    assert batch.image.shape == (2, 3, 24, 32)
