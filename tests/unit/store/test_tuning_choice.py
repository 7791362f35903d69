"""A budget in the plan: trials, the choice among them, and the runs that wait for it. Nothing trains here."""

import shutil
from pathlib import Path

import pytest
import yaml
from made_up_store import made_up_record

from mtcp.analysis.verification import explain, verify_all
from mtcp.core.errors import UserError
from mtcp.core.files import write_json, write_text
from mtcp.store.plan import Plan, Run
from mtcp.store.records import ChoiceRecord
from mtcp.store.tuning_choice import choose, cost, described

BUDGET = {"configurations": 3, "learning_rate": [1e-4, 1e-2], "weight_decay": [1e-6, 1e-2]}


class Folder:
    """A project with a budget, in which trials are written instead of trained."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def edit(self, name: str, change) -> None:
        content = yaml.safe_load((self.path / name).read_text())
        change(content)
        (self.path / name).write_text(yaml.safe_dump(content))

    def budget(self, **changes: object) -> None:
        self.edit("config/benchmarks/rooms.yaml", lambda c: c.update(budget={**BUDGET, **changes}))

    def plan(self) -> Plan:
        return Plan.load(self.path)

    def choice(self, method: str = "mtcp"):
        return next(choice for choice in self.plan().choices if choice.method == method)

    def train(self, run: Run, loss: float | None, epochs: int = 3) -> None:
        """Write what training leaves; `loss` None: the run diverged. Only the last epoch's loss is `loss`."""
        tasks = [task.name for task in run.config.task_list]
        head = ",".join(["epoch", *(f"validation_loss_{task}" for task in tasks)])
        rows = [",".join(map(str, [epoch, *[loss or 9.0] * len(tasks)])) for epoch in range(epochs)]
        rows[:-1] = [row.replace(str(loss), "0.001") for row in rows[:-1]]
        write_text(run.directory / "history.csv", "\n".join([head, *rows]) + "\n")
        costs = {"seconds": 10.0, "cpu_seconds": 8.0, "gpu_seconds": 2.0}
        record = made_up_record(
            run, "finished" if loss else "diverged", reason="" if loss else "a loss is nan", **costs
        )
        record.write(run.run_path)

    def search(self, losses: list[float | None], method: str = "mtcp") -> ChoiceRecord:
        choice = self.choice(method)
        for trial, loss in zip(choice.trials, losses, strict=True):
            self.train(trial, loss)
        return choose(choice)


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Folder:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [trivial_prior, mtcp]\nseeds: [3, 1]\n")
    made = Folder(tmp_path)
    made.budget()
    return made


def test_trials_are_ordinary_runs_at_the_first_seed_and_the_first_is_the_methods_own(folder: Folder) -> None:
    trials = folder.plan().trials
    assert [trial.name for trial in trials] == [f"rooms/mtcp/seed3/trial{index}" for index in range(3)]
    assert len({trial.train_key for trial in trials}) == 3
    folder.edit("config/benchmarks/rooms.yaml", lambda c: c.pop("budget"))
    without = folder.plan()
    assert without.trials == () and without.choices == ()
    assert without.run("rooms", "mtcp", 3).train_key == trials[0].train_key


def test_floors_have_nothing_to_tune(folder: Folder) -> None:
    plan = folder.plan()
    assert [choice.method for choice in plan.choices] == ["mtcp"]
    assert plan.run("rooms", "trivial_prior", 3).state() == "missing"


def test_runs_wait_for_the_choice_and_then_have_its_configuration(folder: Folder) -> None:
    assert {run.state() for run in folder.plan().runs if run.method == "mtcp"} == {"waiting"}
    folder.search([2.0, 3.0, 1.0])
    chosen, *_ = [run for run in folder.plan().runs if run.method == "mtcp"]
    trials = folder.choice().trials
    assert chosen.train_key == trials[2].train_key and chosen.state() == "trained", "the trial is the first seed's run"
    other = folder.plan().run("rooms", "mtcp", 1)
    assert other.config.training == trials[2].config.training and other.state() == "missing"


def test_the_last_epoch_on_validation_images_decides(folder: Folder) -> None:
    record = folder.search([2.0, 1.5, 1.9])
    assert record.chosen == 1
    assert record.trials[1].validation == dict.fromkeys(["semseg", "depth", "normals", "edge"], 1.5)
    assert [trial.cpu_seconds for trial in record.trials] == [8.0] * 3


def test_a_search_costs_what_all_its_trials_did_and_says_what_it_chose(folder: Folder) -> None:
    record = folder.search([2.0, 1.5, None])
    assert cost(record) == {"cpu_seconds": 24.0, "gpu_seconds": 6.0}
    rate = record.trials[1].training["learning_rate"]
    assert described(record).startswith(f"configuration 2 of 3 (learning_rate {rate}, weight_decay ")
    assert described(record.model_copy(update={"chosen": 0})) == "configuration 1 of 3 (its own)"


@pytest.mark.parametrize(
    ("epochs", "change", "message"),
    [(2, "0.5", r"history\.csv is not the file .*train the trial again"), (0, "", "it has no epoch")],
)
def test_a_history_that_cannot_be_trusted_decides_nothing(folder: Folder, epochs: int, change: str, message: str):
    choice = folder.choice()
    for trial in choice.trials:
        folder.train(trial, 1.5, epochs)
    path = choice.trials[1].directory / "history.csv"
    if change:
        path.write_text(path.read_text().replace("1.5", change))
    with pytest.raises(UserError, match=message):
        choose(choice)


def test_what_diverged_is_never_chosen_unless_all_did(folder: Folder) -> None:
    assert folder.search([None, 3.0, None]).chosen == 1
    folder.choice().path.unlink()
    record = folder.search([None, None, None])
    assert record.chosen == 0
    assert record.reason == "all 3 configurations of the budget diverged"
    assert "all 3 configurations" in "\n".join(explain(folder.plan(), folder.plan().run("rooms", "mtcp", 1)))


def test_a_larger_budget_keeps_trials_and_a_choice_that_stays_keeps_runs(folder: Folder) -> None:
    folder.search([2.0, 1.0, 3.0])
    before, chosen = folder.choice(), folder.plan().run("rooms", "mtcp", 1)
    folder.budget(configurations=4)
    after = folder.choice()
    assert after.trials[:3] == before.trials and after.key != before.key
    assert folder.plan().run("rooms", "mtcp", 1).waiting
    assert list(folder.plan().superseded()) == [before.path]
    folder.search([2.0, 1.0, 3.0, 4.0])
    assert folder.plan().run("rooms", "mtcp", 1).train_key == chosen.train_key
    folder.budget(configurations=3)
    assert folder.plan().run("rooms", "mtcp", 1).train_key == chosen.train_key, "and back"


def test_stamps_are_known_before_the_choice_and_move_with_the_budget(folder: Folder) -> None:
    before = folder.plan().stamps("rooms")
    folder.search([2.0, 1.0, 3.0])
    assert folder.plan().stamps("rooms") == before
    folder.budget(configurations=4)
    after = folder.plan().stamps("rooms")
    assert after.tables != before.tables and after.check != before.check


def test_a_method_searches_what_its_entry_names(folder: Folder) -> None:
    folder.edit("params.yaml", lambda c: c.update(methods=["fixed_tuned", "mtcp_kappa_7_5"]))
    weights = [trial.config.scheme.given["weights"] for trial in folder.choice("fixed_tuned").trials]
    assert all(set(each) == {"semseg", "depth", "normals", "edge"} for each in weights)
    assert len({tuple(each.items()) for each in weights}) == 3
    kappas = [trial.config.scheme.given["kappa"] for trial in folder.choice("mtcp_kappa_7_5").trials]
    assert kappas == [7.5] * 3


def test_a_choice_needs_all_trials(folder: Folder) -> None:
    folder.train(folder.choice().trials[0], 1.0)
    with pytest.raises(UserError, match=r"rooms/mtcp/seed3/trial1 is missing: train it with .*--key [0-9a-f]{16}"):
        choose(folder.choice())
    told = list(explain(folder.plan(), folder.plan().run("rooms", "mtcp", 1)))
    assert told[0] == "rooms/mtcp/seed1 waits for its configuration: 1 of 3 trials are trained"
    assert "trial1 differs from the nearest run" in told[1]


def test_a_tampered_choice_is_named(folder: Folder) -> None:
    record = folder.search([2.0, 1.0, 3.0])
    path = folder.choice().path
    write_json(path, {**record.model_dump(mode="json"), "chosen": 0, "seal": "0"})
    with pytest.raises(UserError, match=rf"{path.name} was changed after it was written: remove it"):
        folder.plan()


def test_verify_names_a_choice_that_its_trials_no_longer_give(folder: Folder) -> None:
    folder.search([2.0, 1.0, 3.0])
    place = "rooms/mtcp"
    assert place not in {problem["where"] for problem in verify_all(folder.plan())}
    folder.train(folder.choice().trials[2], 0.5)
    problems = [problem["problem"] for problem in verify_all(folder.plan()) if problem["where"] == place]
    assert len(problems) == 1 and "says configuration 2 of 3" in problems[0] and "give configuration 3" in problems[0]


def test_a_budget_without_validation_images_is_refused(folder: Folder) -> None:
    folder.edit("config/benchmarks/rooms.yaml", lambda c: c.update(validation_share=0))
    with pytest.raises(
        UserError, match=r"rooms\.yaml: `budget` chooses by the loss on validation .* `validation_share` is 0"
    ):
        folder.plan()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"configurations": 0}, r"key 'budget\.configurations': .* greater than or equal to 1, got 0"),
        (
            {"learning_rate": [1e-2, 1e-4]},
            r"key 'budget\.learning_rate': a range is \[low, high\] with 0 < low <= high",
        ),
        ({"epochs": 3}, r"key 'budget\.epochs': unknown key \(known: configurations, learning_rate, weight_decay"),
    ],
)
def test_mistakes_in_a_budget(folder: Folder, change: dict, sentence: str) -> None:
    folder.budget(**change)
    with pytest.raises(UserError, match=sentence):
        folder.plan()
