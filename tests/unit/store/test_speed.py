"""Speeds measured apart: what counts as busy, which records count, and one real measurement through the front door."""

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from made_up_store import ROOT, measure, measure_all
from typer.testing import CliRunner

from mtcp.cli import _register, app
from mtcp.core.load import Watch
from mtcp.core.project import Project
from mtcp.core.project_files import speed_file
from mtcp.store import speed
from mtcp.store.records import SpeedRecord
from mtcp.store.timing import time_method


def test_methods_that_train_are_measured_once_each_in_the_grids_order(store):
    names = [run.method for run in speed.first_runs(store.plan, "rooms")]
    assert names == ["single_task", "mtl_baseline", "mtcp", "uncertainty", "mtcp_equal", "mtcp_no_cfm"]
    assert {run.seed for run in speed.first_runs(store.plan, "rooms")} == {0}


def test_records_count_once_every_method_has_one(store):
    measure_all(store)
    assert [record.method for record in speed.measured(store.plan, "rooms")][:2] == ["single_task", "mtl_baseline"]
    speed_file(store.root, "rooms", "mtcp").unlink()
    assert list(speed.measured(store.plan, "rooms")) == []


@pytest.mark.parametrize("change", [{"train_key": "0" * 16}, {"threads": 2}, {"device": "cuda"}, {"images": (4, 2)}])
def test_a_record_of_other_code_other_batches_or_another_machine_makes_all_void(store, change):
    measure_all(store)
    measure(store, "mtcp", **change)
    assert list(speed.measured(store.plan, "rooms")) == []


def spin(until):
    while not until.is_set():
        pass


@pytest.mark.slow
def test_what_others_take_is_seen_and_ones_own_work_is_not():
    def work(seconds: float) -> float:
        watch = Watch()
        while time.perf_counter() < watch.started + seconds:
            pass
        return watch.others() or 0.0

    context = multiprocessing.get_context("spawn")
    alone = work(1.0)
    until = context.Event()
    neighbour = context.Process(target=spin, args=(until,))
    neighbour.start()
    try:
        work(2.0)  # until it has started
        beside = work(2.0)
    finally:
        until.set()
        neighbour.join()
    assert beside > alone + 0.2 or beside > 0.3


@pytest.mark.parametrize(("others", "busy"), [(None, False), (0.1, False), (0.3, True)])
def test_a_tenth_of_the_cores_is_quiet(others, busy):
    assert speed.is_busy(others, 2) is busy


@pytest.mark.slow
def test_measured_through_the_front_door(small_project, tmp_path):
    project = small_project(tmp_path / "project")
    project.edit("params.yaml", methods=["mtl_baseline", "trivial_prior"], seeds=[0])
    arguments = ("--rounds", "2", "--steps", "1", "--allow-busy", "--json")
    done = project.run("mtcp", "benchmark", "rooms", *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["method"] for row in rows] == ["mtl_baseline"]
    for row in rows:
        assert row["ms_per_step"] > row["ms_per_image"] > 0
        assert row["step_mb"] >= row["image_mb"] > 100
        assert row["rounds"] == 2
        record = SpeedRecord.read(speed_file(project.path, "rooms", row["method"]))
        assert record.environment.cores and record.images[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("trained", "judged"), [(2, 128), (16, 1)])
def test_steps_and_predictions_have_their_own_peaks_of_memory(trained, judged):
    config = Project(ROOT).resolve("rooms", "mtl_baseline", 0)
    training, evaluation = ({"batch_size": images} for images in (trained, judged))
    config = config.model_copy(
        update={
            "training": config.training.model_copy(update=training),
            "evaluation": config.evaluation.model_copy(update=evaluation),
        }
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(time_method, config, ROOT, "cpu", 1, 1).result()
    step, image = found.step_memory_mb, found.image_memory_mb
    print(step, image)
    assert (step > image + 20) == (trained > judged) and (image > step + 20) == (judged > trained)


def test_a_step_has_the_runs_batches_of_which_the_last_moves_the_network(monkeypatch):
    """And its seconds are those of one of them, as in a run's record."""
    config, seen = Project(ROOT).resolve("rooms", "mtl_baseline", 0), []
    config = config.model_copy(update={"training": config.training.model_copy(update={"accumulate": 4})})

    def micro_step(batch, number, boundary, batches=1):
        seen.append((number, boundary, batches))

    stepper = SimpleNamespace(micro_step=micro_step, autocast=nullcontext)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("mtcp.store.timing.compute_with", lambda threads: None)
    monkeypatch.setattr("mtcp.store.timing.made_up_training", lambda *given: (stepper, None))
    monkeypatch.setattr("mtcp.store.timing.time.perf_counter", lambda: 8.0 * len(seen))  # a batch takes 8 s
    found = time_method(config, ROOT, "cpu", 1, steps=1)
    assert seen == 3 * [(0, False, 4), (1, False, 4), (2, False, 4), (3, True, 4)]
    assert found.seconds_per_step == 8.0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("rooms", "mtpc"), "did you mean 'mtcp'"), (("rooms", "trivial_prior"), "trains"), (("nyud",), "plans no run")],
)
def test_what_cannot_be_measured_is_said(arguments, word, monkeypatch):
    monkeypatch.chdir(ROOT)
    if not app.registered_commands:
        _register()
    found = CliRunner().invoke(app, ["benchmark", *arguments])
    assert word in str(found.exception)
