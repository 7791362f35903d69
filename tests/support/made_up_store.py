"""A made-up run store, written exactly as training and evaluation write theirs, with known numbers in it."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtcp.analysis.tables import write_tables
from mtcp.core.project import Project
from mtcp.core.project_files import HISTORY, speed_file
from mtcp.store.environment import environment
from mtcp.store.integrity import digests
from mtcp.store.plan import Plan, Run
from mtcp.store.records import MetricsRecord, RunRecord, SpeedRecord, SpeedRound, Status
from mtcp.store.speed import first_runs

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("trivial_prior", "single_task", "mtl_baseline", "mtcp", "uncertainty", "mtcp_equal", "mtcp_no_cfm")
#: Effect of a method, in units of "better": the made-up networks differ by nothing else but noise.
SKILL = {"trivial_prior": -6, "single_task": 0, "mtl_baseline": 1, "mtcp": 2, "uncertainty": 1.5}
PRIMARY = {
    "semseg": ("miou", 0.40, 0.01),
    "depth": ("rmse", 0.50, -0.01),
    "normals": ("mean", 25.0, -0.3),
    "edge": ("ods_f", 0.50, 0.01),
}

FURTHER = {
    "semseg": ["pixel_accuracy"],
    "depth": ["log_rmse"],
    "normals": ["median", "within_11_25", "within_22_5", "within_30"],
    "edge": ["ois_f", "ap"],
}

ENVIRONMENT = {
    "environment_class": "cpu-torch2.15", "python": "3.11.9", "platform": "Linux",
    "packages": {"torch": "2.15.0"}, "cpu": "A CPU", "cores": 2, "gpu": None, "lock_sha256": None,
}  # fmt: skip


@dataclass
class Store:
    """A project folder with a planned grid; `write(run)` finishes a run."""

    root: Path
    plan: Plan

    def write(self, run: Run, status: Status = "finished", flags: tuple[str, ...] = (), **changes: Any) -> None:
        noise = np.random.default_rng([run.seed, METHODS.index(run.method)]).normal(size=4) * 0.3
        skill = SKILL.get(run.method, 1.8)
        final = {
            task: {name: base + step * (skill + noise[place] + run.seed / 4)}
            for place, (task, (name, base, step)) in enumerate(PRIMARY.items())
        }
        final["depth"]["rmse_capped"] = final["depth"]["rmse"] - 0.01
        for task, names in FURTHER.items():
            final[task] |= dict.fromkeys(names, 0.9 * final[task][PRIMARY[task][0]])
        final["coherence"] = {"depth_normals_angle": 30.0 - skill - noise[0], "edge_boundary_f": 0.4 + 0.01 * skill}
        truth = {"coherence": {"depth_normals_angle": 4.0, "edge_boundary_f": 0.95}}
        earlier = {task: {name: 0.99 * value for name, value in values.items()} for task, values in final.items()}
        run.directory.mkdir(parents=True, exist_ok=True)
        with (run.directory / HISTORY).open("w", newline="") as stream:
            weights = [] if run.method in ("single_task", "trivial_prior") else [f"weight_{task}" for task in PRIMARY]
            rows = csv.writer(stream)
            rows.writerow(
                [
                    "epoch",
                    "learning_rate",
                    *(f"loss_{task}" for task in PRIMARY),
                    *(f"validation_loss_{task}" for task in PRIMARY),
                    *weights,
                    "seconds",
                ]
            )
            for epoch in range(3):
                losses = [2 / (epoch + 1) + 0.1 * place + 0.05 * run.seed for place in range(8)]
                rows.writerow(
                    [
                        epoch,
                        1e-3 * (1 - epoch / 3) ** 0.9,
                        *losses,
                        *[1 + 0.1 * epoch * place for place in range(len(weights))],
                        3.5,
                    ]
                )
        written = made_up_record(run, status, flags=flags, parameters=parameters(run.method), **changes)
        written.write(run.run_path)
        if status == "finished":
            MetricsRecord(
                benchmark=run.benchmark,
                method=run.method,
                seed=run.seed,
                train_key=run.train_key,
                eval_key=run.eval_key,
                images=96,
                seconds_per_image=0.004,
                gflops=0.05 + 0.01 * METHODS.index(run.method),
                non_finite=dict.fromkeys(PRIMARY, 0),
                metrics=dict[str, Any](
                    last={"final": final, "aux1": earlier, "truth": truth}, validation={"final": final}
                ),
                files={},
            ).write(run.metrics_path)

    def write_all(self) -> None:
        for run in self.plan.runs:
            self.write(run)


def made_up_record(run: Run, status: Status = "finished", **changes: Any) -> RunRecord:
    """A record of `run` as training writes it, with made-up costs; `changes` replace fields."""
    history = [path for path in (run.directory / HISTORY,) if path.exists()]
    record = {
        "benchmark": run.benchmark, "method": run.method, "seed": run.seed,
        "train_key": run.train_key, "key_parts": run.parts, "config": run.config.model_dump(mode="json"),
        "status": status, "reason": "loss_depth is not finite at step 12" if status == "diverged" else "",
        "flags": (), "epochs": 3, "parameters": 1_500_000, "seconds": 21.5 + run.seed,
        "cpu_seconds": 20.0, "gpu_seconds": 0.0, "seconds_per_step": 0.06 + 0.001 * run.seed,
        "images_per_second": 130.0, "peak_memory_mb": 700.0, "device": "cpu",
        "determinism": {
            "deterministic_algorithms": False, "cudnn_deterministic": False, "cudnn_benchmark": False, "tf32": False,
            "threads": 1,
        },
        "environment": ENVIRONMENT,
        "data": {"digest": "d" * 64, "note": "rendered"}, "weights": None,
        "git": {"commit": "c" * 40, "dirty": False, "diff_sha256": None},
        "started": "2026-01-01T10:00:00+00:00", "finished": "2026-01-01T10:00:22+00:00",
        "files": digests(run.directory, history),
    }  # fmt: skip
    return RunRecord.model_validate(record | changes)


def measure(store: Store, method: str, factor: float = 1.0, **changes: Any) -> SpeedRecord:
    """Write the record of a measured speed, with eight rounds that differ a little; `changes` replace fields."""
    run = store.plan.run("rooms", method, 0)
    rounds = [
        SpeedRound(
            seconds_per_step=factor * (0.1 + 0.001 * number),
            seconds_per_image=factor * 0.01,
            step_memory_mb=900,
            image_memory_mb=600,
            others=0.0,
        )
        for number in range(8)
    ]
    content: dict[str, Any] = {
        "benchmark": "rooms", "method": method, "train_key": run.train_key, "device": "cpu", "threads": 1,
        "images": (run.config.training.batch_size, run.config.evaluation.batch_size),
        "rounds": tuple(rounds), "environment": environment("cpu", store.root),
        "measured": "2026-01-01",
    }  # fmt: skip
    record = SpeedRecord(**{**content, **changes})
    record.write(speed_file(store.root, "rooms", method))
    return record


def measure_all(store: Store) -> None:
    """Write a record for every method that trains: each slower than the one before it."""
    for place, run in enumerate(first_runs(store.plan, "rooms")):
        measure(store, run.method, 1 + place)


def parameters(method: str) -> int:
    """Made-up sizes: four networks against one."""
    return 4_000_000 if method == "single_task" else 1_500_000 + 10 * METHODS.index(method)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store with a grid of seven methods and four seeds on `rooms`."""
    return make_store(tmp_path, range(4))


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make_store(folder, range(4)).write_all()
    return folder


@pytest.fixture
def done(tmp_path: Path, _finished: Path) -> Store:
    """The same store with all runs finished; a copy of its own for every test."""
    shutil.copytree(_finished, tmp_path, dirs_exist_ok=True)
    return make_store(tmp_path, range(4))


@pytest.fixture(scope="session")
def _tabled(tmp_path_factory: pytest.TempPathFactory, _finished: Path) -> Path:
    folder = tmp_path_factory.mktemp("tabled")
    shutil.copytree(_finished, folder, dirs_exist_ok=True)
    made = make_store(folder, range(4))
    made.write(made.plan.run("rooms", "uncertainty", 1), "diverged")
    made.write(made.plan.run("rooms", "mtcp_no_cfm", 1), flags=("negative_weights",))
    write_tables(made.plan, "rooms")
    return folder


@pytest.fixture
def tabled(tmp_path: Path, _tabled: Path) -> Store:
    """The finished store with tables; one method diverged on one seed and another has a flag."""
    shutil.copytree(_tabled, tmp_path, dirs_exist_ok=True)
    return make_store(tmp_path, range(4))


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """A finished store with two seeds."""
    made = make_store(tmp_path, range(2))
    made.write_all()
    return made


def make_store(folder: Path, seeds: range) -> Store:
    """Write a project's configuration to `folder` and plan its grid, with made-up keys."""
    kept = ("claims.yaml", "ledger.yaml", "methods.yaml", "benchmarks/rooms.yaml")
    for part in (*(f"config/{name}" for name in kept), "results/published.csv"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, folder / part)
    methods = ", ".join(METHODS)
    (folder / "params.yaml").write_text(f"benchmarks: [rooms]\nmethods: [{methods}]\nseeds: {list(seeds)}\n")
    project = Project(folder)
    configs = {method: project.resolve("rooms", method, 0) for method in METHODS}
    runs = tuple(
        Run(configs[method].model_copy(update={"seed": seed}), {}, f"{seed:04d}{place:012d}", "e" * 16, folder)
        for place, method in enumerate(METHODS)
        for seed in seeds
    )
    return Store(folder, Plan(project, runs))
