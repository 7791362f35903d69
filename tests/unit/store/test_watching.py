"""What `mtcp watch` reads from the store, and what it passes on to TensorBoard and Weights & Biases."""

import fcntl
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_store import made_up_record

from mtcp.core.project_files import HISTORY, LOCK, metrics_file
from mtcp.store.plan import Plan
from mtcp.store.records import MetricsRecord
from mtcp.store.trackers import Follower
from mtcp.store.watching import Cost, Progress, cost_of, grid_seconds_left, look
from mtcp.training.history import write_history


@pytest.fixture
def plan(tmp_path: Path, root: Path) -> Plan:
    for name in ("config", "params.yaml"):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [single_task, mtcp]\nseeds: [0]\n")
    return Plan.load(tmp_path)


def epochs(plan: Plan, method: str, count: int) -> Path:
    run = plan.run("rooms", method, 0)
    run.directory.mkdir(parents=True, exist_ok=True)
    rows = [
        {"epoch": k, "learning_rate": 0.1, "loss_depth": 2.0 - k, "validation_loss_depth": 3.0} for k in range(count)
    ]
    write_history(run.directory / HISTORY, rows)
    return run.directory


def test_a_running_run_tells_epoch_losses_and_time_left(plan: Plan) -> None:
    folder = epochs(plan, "mtcp", 2)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        written = (folder / HISTORY).stat().st_mtime
        os.utime(folder / LOCK, (written - 20, written - 20))
        waiting, running = look(plan)
    total = plan.run("rooms", "mtcp", 0).config.training.epochs
    assert (waiting.state, waiting.epoch, waiting.seconds_left) == ("missing", 0, None)
    assert (running.state, running.epoch, running.epochs) == ("running", 2, total)
    assert running.losses == {"depth": 1.0}
    assert running.seconds_left == pytest.approx(10 * (total - 2), abs=0.1)


def test_the_grids_time_is_that_of_what_is_left_over_what_goes_on_at_once() -> None:
    rows = [Progress("a", "running", 1, 2, {}, 30.0, False), Progress("b", "running", 1, 2, {}, 10.0, False)]
    rows += [Progress("c", "missing", 0, 2, {}, 60.0, False), Progress("d", "done", 2, 2, {}, 0.0, True)]
    assert grid_seconds_left(rows) == 50
    assert grid_seconds_left([*rows, Progress("e", "missing", 0, 2, {}, None, False)]) is None


def test_time_left_counts_the_evaluation_and_a_trained_run_has_only_that(plan: Plan) -> None:
    run, cost = plan.run("rooms", "mtcp", 0), Cost(epoch=10.0, evaluation=8.0)
    total = run.config.training.epochs
    assert cost.left(run, 0) == 10 * total + 8
    assert cost.left(run, total) == 8
    assert cost.left(replace(run, trial=0), 1) == 10 * (total - 1)
    assert Cost(None, 8.0).left(run, 0) is None
    assert Cost(None, 8.0).left(run, total) == 8


def test_an_evaluation_is_timed_by_its_records(plan: Plan) -> None:
    run = plan.run("rooms", "mtcp", 0)
    run.directory.mkdir(parents=True)
    for name, seconds in (("one", 4.0), ("two", 6.0), ("three", None)):
        record = MetricsRecord(
            benchmark="rooms", method="mtcp", seed=0, train_key=run.train_key, eval_key=name, seconds=seconds
        )
        record.write(run.directory / metrics_file(name))
    (run.directory / metrics_file("four")).write_text("{")
    other = plan.run("rooms", "single_task", 0)
    assert (cost_of(run.directory.parent), cost_of(other.directory.parent)) == (Cost(None, 5.0), Cost(None, None))
    run.run_path.write_text("{}")
    (progress,) = (row for row in look(plan) if row.run == run.name)
    assert (progress.state, progress.seconds_left, progress.finished) == ("trained", 5.0, False)


def test_what_trains_no_epoch_has_a_time_too(plan: Plan) -> None:
    """Otherwise the time of a grid with the prior is unknown to its end."""
    run = plan.run("rooms", "mtcp", 0)
    run.directory.mkdir(parents=True)
    made_up_record(run, epochs=0, seconds=0.5).write(run.run_path)
    assert cost_of(run.directory.parent).left(run, 0) == pytest.approx(0.5)


def test_a_run_that_is_being_evaluated_is_running_with_no_epoch_left(plan: Plan) -> None:
    folder = epochs(plan, "mtcp", (run := plan.run("rooms", "mtcp", 0)).config.training.epochs)
    run.run_path.write_text("{}")
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (progress,) = (row for row in look(plan) if row.run == run.name)
    assert (progress.state, progress.epoch, progress.seconds_left) == ("running", progress.epochs, 0.0)


def test_tensorboard_gets_every_epoch_once(plan: Plan) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    epochs(plan, "mtcp", 2)
    follower = Follower(plan, "tensorboard")
    assert follower.follow(plan) == 2
    assert follower.follow(plan) == 0
    epochs(plan, "mtcp", 3)
    assert follower.follow(plan) == 1
    follower.close()
    events = EventAccumulator(str(plan.root / "results/tensorboard/rooms/mtcp/seed0")).Reload()
    written = events.Tensors("loss_depth")
    assert [(event.step, event.tensor_proto.float_val[0]) for event in written] == [(0, 2.0), (1, 1.0), (2, 0.0)]


def with_trial(plan: Plan) -> SimpleNamespace:
    """A plan after a choice: the run is the trial that won, in the same folder."""
    (run,) = [run for run in plan.runs if (run.method, run.seed) == ("mtcp", 0)]
    return SimpleNamespace(root=plan.root, trials=(replace(run, trial=0),), runs=(run,))


def test_a_runs_curves_do_not_replace_those_of_its_trials(plan: Plan) -> None:
    pytest.importorskip("tensorboard")
    epochs(plan, "mtcp", 2)
    for _ in range(2):  # the second follower replaces what the first wrote
        follower = Follower(with_trial(plan), "tensorboard")
        assert follower.follow(with_trial(plan)) == 4
        follower.close()
    folder = plan.root / "results/tensorboard/rooms/mtcp/seed0"
    assert [len(list(each.glob("events.out.*"))) for each in (folder, folder / "trial0")] == [1, 1]


@pytest.mark.slow
def test_wandb_gets_a_trial_and_its_run_and_each_once(plan: Plan) -> None:
    wandb = pytest.importorskip("wandb")
    epochs(plan, "mtcp", 2)
    for _ in range(2):
        follower = Follower(with_trial(plan), "wandb")
        assert follower.follow(with_trial(plan)) == 4
        follower.close()
        wandb.teardown()
    logs = [path.name.split("-", 3)[3] for path in (plan.root / "results/wandb").glob("offline-run-*")]
    key = with_trial(plan).runs[0].train_key
    assert sorted(logs) == [f"mtcp-0-{key}", f"mtcp-0-{key}-trial0"]


@pytest.mark.slow
def test_wandb_gets_an_offline_run(plan: Plan) -> None:
    wandb = pytest.importorskip("wandb")
    epochs(plan, "mtcp", 2)
    follower = Follower(plan, "wandb")
    assert follower.follow(plan) == 2
    follower.close()
    wandb.teardown()  # its own process writes the log; this waits for it, as the end of a command does
    (log,) = (plan.root / "results/wandb").glob("offline-run-*/run-*.wandb")
    assert b"loss_depth" in log.read_bytes()
