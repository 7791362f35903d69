"""The plan: keys that move with what determines a run, and with nothing else."""

import errno
import shutil
from pathlib import Path

import pytest
import yaml
from made_up_store import made_up_record

from mtcp.core.errors import UserError
from mtcp.core.project_files import LOCK
from mtcp.store.plan import Plan


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp, mtcp_equal]\nseeds: [0, 1]\n")
    return tmp_path


def edit(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def keys(folder: Path) -> dict[str, tuple[str, str]]:
    return {run.name: (run.train_key, run.eval_key) for run in Plan.load(folder).runs}


def test_every_run_has_a_key_of_its_own_and_planning_repeats(folder: Path) -> None:
    first = keys(folder)
    assert len({key for pair in first.values() for key in pair}) == 8
    assert keys(folder) == first


def test_a_plan_of_one_method_has_its_runs_alone_and_any_run_outside_the_grid_is_planned(folder: Path) -> None:
    whole, part = Plan.load(folder), Plan.load(folder, only=("rooms", "mtcp_equal"))
    assert part.runs == tuple(run for run in whole.runs if run.method == "mtcp_equal")
    outside = whole.run("rooms", "mtcp", 9)
    assert outside.name == "rooms/mtcp/seed9" and outside not in whole.runs
    assert whole.run("rooms", "mtcp", 1) is whole.runs[1]
    assert whole.data_folder("rooms") == folder / "data/rooms"


def test_a_validation_share_of_no_image_is_refused(folder: Path) -> None:
    edit(folder / "config/benchmarks/rooms.yaml", lambda c: c.update(validation_share=0.1))
    edit(folder / "config/benchmarks/rooms.yaml", lambda c: c["rendered"].update(train=3))
    with pytest.raises(UserError, match=r"key 'validation_share': 0\.1 of 3 training images"):
        Plan.load(folder)


def test_a_mistake_in_the_configuration_is_named_before_missing_data(folder: Path) -> None:
    (folder / "params.yaml").write_text("benchmarks: [nyud]\nmethods: [mtcp, mtcp_equal]\nseeds: [0]\n")
    with pytest.raises(UserError, match="no data for 'nyud'"):
        Plan.load(folder)
    edit(folder / "config/methods.yaml", lambda c: c["mtcp_equal"].update(training={"epoch": 3}))
    with pytest.raises(UserError, match=r"key 'mtcp_equal\.training\.epoch': unknown key; did you mean 'epochs'"):
        Plan.load(folder)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config/benchmarks/rooms.yaml", lambda c: c.update(label="Other")),
        ("config/benchmarks/rooms.yaml", lambda c: c["resources"].update(mem_mb=999)),
        ("config/benchmarks/rooms.yaml", lambda c: c["evaluation"].update(batch_size=3)),
        ("config/benchmarks/rooms.yaml", lambda c: c["training"].update(decay_power=0.9)),
        ("config/methods.yaml", lambda c: c["mtcp"].update(label="Other", description="x")),
        ("config/methods.yaml", lambda c: c.update(mine=c["mtcp"] | {"label": "Mine"})),
        ("params.yaml", lambda c: c["seeds"].append(2)),
    ],
)
def test_what_changes_no_number_changes_no_key(folder: Path, file: str, change) -> None:
    before = keys(folder)
    edit(folder / file, change)
    after = keys(folder)
    assert {name: after[name] for name in before} == before


def test_a_training_option_changes_both_keys_of_its_method_alone(folder: Path) -> None:
    before = keys(folder)
    edit(folder / "config/methods.yaml", lambda c: c["mtcp"].update(training={"weight_decay": 0.01}))
    after = keys(folder)
    for seed in (0, 1):
        assert before[f"rooms/mtcp/seed{seed}"][0] != after[f"rooms/mtcp/seed{seed}"][0]
        assert before[f"rooms/mtcp_equal/seed{seed}"] == after[f"rooms/mtcp_equal/seed{seed}"]


def test_an_evaluation_option_changes_the_evaluation_alone(folder: Path) -> None:
    before = keys(folder)
    edit(folder / "config/benchmarks/rooms.yaml", lambda c: c["evaluation"].update(depth_cap=5.0))
    after = keys(folder)
    for name, (train_key, eval_key) in before.items():
        assert after[name][0] == train_key
        assert after[name][1] != eval_key


def test_a_users_scheme_file_counts_in_its_own_runs_alone(folder: Path) -> None:
    (folder / "plugins").mkdir()
    plugin = folder / "plugins/mine.py"
    plugin.write_text('@scheme("mine")\nclass Mine:\n    power = 1\n')
    edit(folder / "config/methods.yaml", lambda c: c["mtcp_equal"].update(scheme={"name": "mine"}))
    before = keys(folder)
    plugin.write_text('@scheme("mine")\nclass Mine:\n    power = 23\n')
    after = keys(folder)
    assert before["rooms/mtcp/seed0"] == after["rooms/mtcp/seed0"]
    assert before["rooms/mtcp_equal/seed0"] != after["rooms/mtcp_equal/seed0"]


def test_a_stamp_moves_with_the_grid_and_back(folder: Path) -> None:
    before = Plan.load(folder).stamps("rooms")
    edit(folder / "params.yaml", lambda c: c["seeds"].append(2))
    assert Plan.load(folder).stamps("rooms").tables != before.tables
    edit(folder / "params.yaml", lambda c: c["seeds"].pop())
    assert Plan.load(folder).stamps("rooms") == before


def test_a_record_in_a_foreign_place_is_refused(folder: Path) -> None:
    first, second = Plan.load(folder).of("rooms")[:2]
    made_up_record(first).write(second.run_path)
    with pytest.raises(UserError, match="edited or copied"):
        second.record()
    assert list(Plan.load(folder).superseded()) == []
    edit(folder / "params.yaml", lambda c: c.update(seeds=[0]))
    assert list(Plan.load(folder).superseded()) == [second.directory]


def test_a_lock_that_cannot_be_read_is_not_called_running(folder: Path, monkeypatch) -> None:
    run = Plan.load(folder).of("rooms")[0]
    run.directory.mkdir(parents=True)
    (run.directory / LOCK).touch()
    assert run.state() == "missing"

    def refuse(path: Path, *arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"cannot read .*\.lock, .*whether its run is running: .*ermission"):
        run.state()


def test_dvc_depends_on_the_lock_of_every_data_set(root: Path) -> None:
    stage = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["reproduce"]
    project = Plan.load(root).project
    for name in project.benchmark_names():
        lock = f"data/{project.data_name(name)}.lock.json"
        assert lock in stage["deps"]
        assert (root / lock).exists()
