"""A trained run as an object: which evaluation it reads, and what its model card says of it."""

import os
from pathlib import Path

import numpy as np
import pytest
from made_up_store import Store
from torch import nn

from mtcp.core.errors import UserError
from mtcp.core.project_files import HISTORY, images_file, metrics_file
from mtcp.metrics import recompute
from mtcp.models import checkpoints
from mtcp.store import exports
from mtcp.store.exports import export_run
from mtcp.store.integrity import digests
from mtcp.store.plan import Plan, Run
from mtcp.store.records import MetricsRecord
from mtcp.store.trained import TrainedRun, load_run

OLDER = "a" * 16


@pytest.fixture
def run(done: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with its planned evaluation and a file, written later, of another one."""
    run = done.plan.run("rooms", "mtcp", 0)
    record = MetricsRecord.read(run.metrics_path)
    for key in (run.eval_key, OLDER):
        np.savez(run.directory / images_file(key), **{"ids": ["1"], "final/depth/count": [1]})
    record.model_copy(update={"files": digests(run.directory, [run.images_path])}).write(run.metrics_path)
    files = digests(run.directory, [run.directory / images_file(OLDER)])
    metrics = {"last": {"final": {"depth": {"rmse": 9.0}}}}
    path = run.directory / metrics_file(OLDER)
    record.model_copy(update={"eval_key": OLDER, "metrics": metrics, "files": files}).write(path)
    os.utime(path, (2e9, 2e9))
    monkeypatch.setattr(Plan, "load", lambda *_, **__: done.plan)
    return run


def test_a_name_reads_the_planned_evaluation_and_a_folder_the_newest(run: Run, monkeypatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(recompute, "read_statistics", lambda path, output: asked.append(path))
    named, folder = load_run(run.name, run.root), load_run(run.directory, run.root)
    assert set(named.metrics.task) == {"semseg", "depth", "normals", "edge", "coherence"}
    assert list(folder.metrics.value) == [9.0]
    named.statistics()
    folder.statistics()
    assert asked == [run.images_path, run.directory / f"images-{OLDER}.npz"]
    run.metrics_path.unlink()
    with pytest.raises(UserError, match=f"trained and not evaluated under eval_key {run.eval_key}"):
        load_run(run.name, run.root).metrics  # noqa: B018


def test_a_printed_run_is_one_short_line(run: Run) -> None:
    said = f"TrainedRun(rooms/mtcp/seed0, train_key={run.train_key}, status=finished)"
    assert repr(load_run(run.name, run.root)) == said


def test_the_plug_ins_of_its_project_define_its_network(run: Run, monkeypatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(TrainedRun, "weights", run.directory / "model.safetensors")
    monkeypatch.setattr(checkpoints, "load_network", lambda config, path, root: asked.append(root) or nn.Identity())
    for found in (load_run(run.name, run.root), load_run(run.directory, run.root), load_run(run.directory)):
        found.network  # noqa: B018
    assert [root.resolve() for root in asked] == [run.root.resolve()] * 3


@pytest.mark.parametrize("content", [None, b"", b"epoch\n0\n", b"\xff\x00"])
def test_a_history_that_training_did_not_write_is_refused(run: Run, content: bytes | None) -> None:
    path = run.directory / HISTORY
    assert len(load_run(run.name, run.root).history) == 3
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path} is .*: remove {run.directory} and train the run again"):
        load_run(run.name, run.root).history  # noqa: B018


@pytest.mark.parametrize("arrays", [None, {"ids": ["1"]}, {"ids": ["1"], "final/depth/count": [2]}])
def test_statistics_that_the_evaluation_did_not_write_are_refused(run: Run, arrays: dict | None) -> None:
    assert load_run(run.name, run.root).statistics()[1]["depth"]["count"] == [1]
    run.images_path.unlink()
    if arrays is not None:
        np.savez(run.images_path, **arrays)
    for read in (TrainedRun.statistics, TrainedRun.images):
        with pytest.raises(UserError, match=rf"{run.images_path} is .*: remove {run.metrics_path} and evaluate"):
            read(load_run(run.name, run.root))


@pytest.mark.parametrize("device", ["zz", "cuda:99", None])
def test_a_device_that_is_not_there_is_refused(run: Run, device: str) -> None:
    with pytest.raises(UserError, match=f"device {device}(: torch sees| is no device)"):
        load_run(run.name, run.root).predict(np.zeros((4, 5, 3), np.uint8), device)


@pytest.mark.parametrize("name", ["a" * 5000, f"{'a' * 5000}/mtcp/seed0"])
def test_a_name_that_no_file_can_have_is_no_run(name: str, root: Path) -> None:
    with pytest.raises(UserError, match=r"'a{80}' \(File name too long\) is not a run: give BENCHMARK"):
        load_run(name, root)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((4, 5, 3), np.float32), r"got float32 of shape \(4, 5, 3\)"),
        (np.zeros((4, 5), np.uint8), r"got uint8 of shape \(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"got uint8 of shape \(4, 5, 4\)"),
        (np.zeros((3, 4, 5), np.uint8), r"got uint8 of shape \(3, 4, 5\)"),
        (np.zeros((0, 5, 3), np.uint8), r"got uint8 of shape \(0, 5, 3\)"),
        (None, "got NoneType"),
        ([[[0, 0, 0]]], "got list"),
    ],
)
def test_what_is_no_photograph_is_told(run: Run, given: object, words: str) -> None:
    with pytest.raises(UserError, match=rf"an array \(H, W, 3\) of uint8, 0 to 255; {words}"):
        load_run(run.name, run.root).predict(given)


def test_what_is_no_name_is_no_run() -> None:
    with pytest.raises(UserError, match="3 is not a run: give BENCHMARK/METHOD/seedK"):
        load_run(3)  # pyright: ignore[reportArgumentType] - that is the mistake


def test_a_damaged_record_is_not_a_missing_evaluation(run: Run, tmp_path: Path, monkeypatch) -> None:
    def write(network: object, config: object, path: Path) -> dict[str, float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"network")
        return {"depth": 0.0}

    monkeypatch.setattr(exports, "export", write)
    monkeypatch.setattr(TrainedRun, "network", None)
    run.metrics_path.write_text(run.metrics_path.read_text().replace('"images": 96', '"images": 97'))
    with pytest.raises(UserError, match="was changed after it was written"):
        export_run(load_run(run.name, run.root), tmp_path / "exported")
    run.metrics_path.unlink()
    done = export_run(load_run(run.name, run.root), tmp_path / "exported")
    card = Path(done["card"]).read_text()
    assert "The run was not evaluated." in card
    assert "its outputs are identical to the network's" in card
