"""The tables of one benchmark: tidy CSVs computed from the run store only.

====================  =============================================================================================
runs.csv              one row per run x selection x output x task x metric; costs under task "cost"; a run without
                      numbers (diverged, missing) one row with its status and the reason
history.csv           one row per run x epoch x column (losses, weights, learning rate)
multi_task.csv        Delta_m and Delta_c per run, selection and output, against the baseline's run of the same seed
summary.csv           mean, spread and t interval over seeds; Delta_m under task "multi_task"; ranks
comparisons.csv       paired differences by family (reference x measure), with Holm, ROPE, least n; image bootstrap
claims.csv            the verdicts
pairs.csv             the seeds behind every verdict: one row per claim x seed
paper.csv             the tables that papers print: one row per table x method x measure, the tied best marked
methods.csv           one row per method: seeds finished, flags, configurations tried and their cost, environment
curves.csv            history averaged over seeds
changes.csv           relative change of each task's primary metric, and Delta_m: mean and interval over seeds
classes.csv           IoU of each class and its difference to the baseline's: mean and interval over seeds
images.csv            Delta_m of each test image alone, reference against baseline; best, median and worst are named
ranks.csv             rank of each method by Delta_m on each seed alone
provenance.csv        one row per run: keys, commit, data digest, environment
speed.csv             what `mtcp benchmark` measured of every method, round by round; empty where it did not. Summary,
                      claims and the tables for papers then use it in place of the grid's own times. Claims never
                      use the times of a run whose machine had more load than cores
literature.csv        published numbers of the same data set, with their sources (real data sets only)
====================  =============================================================================================

Numbers have nine significant digits and rows a fixed order, so equal runs give equal bytes.
"""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mtcp.analysis.breakdown import class_differences, image_changes, ranks, task_changes
from mtcp.analysis.claims import judge
from mtcp.analysis.comparisons import (
    COST,
    DONE,
    MULTI_TASK,
    delta_m_rows,
    measures,
    open_runs,
    paired,
    primary,
)
from mtcp.analysis.image_bootstrap import add_image_intervals, draw_metrics
from mtcp.analysis.paper_tables import paper_tables
from mtcp.analysis.rows import rows_of
from mtcp.analysis.speed import speed_table, with_measured, without_disturbed
from mtcp.analysis.statistics import ALPHA, alpha_of_look, compare_family, spread, t_interval
from mtcp.core.claims import load_claims
from mtcp.core.config import Benchmark, Method
from mtcp.core.errors import UserError
from mtcp.core.files import write_json, write_text
from mtcp.core.measures import COSTS
from mtcp.core.project_files import (
    CLAIMS,
    DELTA_M,
    HISTORY,
    LITERATURE,
    METRICS,
    MODEL,
    TABLES,
    mean_metrics_file,
)
from mtcp.core.published import COLUMNS, PUBLISHED_FOR, published_rows
from mtcp.core.roles import with_roles
from mtcp.core.words import counted
from mtcp.store.integrity import require_unchanged
from mtcp.store.plan import TRAINED, Plan, Run
from mtcp.store.records import RunRecord
from mtcp.store.speed import measured
from mtcp.store.tuning_choice import cost, described
from mtcp.training.history import read_history

RUN_COLUMNS: Final = [
    "benchmark", "method", "seed", "train_key", "eval_key", "status", "flags", "environment", "selection", "output",
    "task", "metric", "value", "reason",
]  # fmt: skip
HISTORY_COLUMNS: Final = ["benchmark", "method", "seed", "epoch", "column", "value"]
PROVENANCE_COLUMNS: Final = [
    "benchmark", "method", "seed", "status", "reason", "flags", "train_key", "eval_key", "commit", "dirty",
    "diff_sha256", "data_digest", "data_note", "weights_sha256", "weights_revision", "network_sha256", "environment",
    "python", "torch", "device", "processor", "cores", "load", "epochs", "train_seconds", "started", "finished",
]  # fmt: skip
#: Columns that are always read as text: a key such as 12345678e0123456 is not a number, nor is a claim called 1.
TEXT: Final = (
    "benchmark", "method", "reference", "reference_output", "family", "label", "parts", "image", "name", "place",
    "selection", "output", "task", "metric", "unit", "column", "table", "id", "claim", "text", "evidence", "source",
    "verdict", "conclusion", "description", "architecture", "scheme", "dataset", "data_note", "device", "processor",
    "train_key", "eval_key", "commit", "diff_sha256", "data_digest",
    "weights_sha256", "weights_revision", "network_sha256",
    "status", "reason", "reasons", "flags", "chosen", "environment", "environments", "torch", "python", "backbone",
)  # fmt: skip


def write_tables(plan: Plan, benchmark: str, partial: bool = False) -> list[Path]:
    """Write all tables of `benchmark` to `results/tables/<benchmark>` and return their paths.

    Raises `UserError` where a run of the grid is not done; with `partial`, such a run gets a row with its state.
    """
    folder = plan.root / TABLES / benchmark
    written = []
    for name, table in build_tables(plan, benchmark, partial).items():
        written.append(folder / f"{name}.csv")
        write_text(written[-1], to_csv(table))
    return written


def write_metrics(plan: Plan) -> list[Path]:
    """Write the means of every benchmark and method of the plan, from the summaries: one file each, for `dvc metrics`.

    `dvc metrics show` prints a row per file. Also writes `delta_m.csv`, one row per benchmark and method, for
    `dvc plots`. Returns all paths; files of methods no longer in the grid are removed.
    """
    tables, tree = plan.root / TABLES, {}
    for name in plan.project.params.benchmarks:
        summary = read_table(tables / name / "summary.csv")
        tree[name] = metrics_tree(summary, with_roles(plan.project, name))
    written = []
    for name in plan.project.params.benchmarks:
        for method in plan.project.params.methods:
            written.append(tables / mean_metrics_file(name, method))
            write_json(written[-1], tree[name].get(method, {}))
    for path in set((tables / METRICS).rglob("*.json")) - set(written):
        path.unlink()
    bars = [
        {"method": f"{name} {method}", "delta_m": values["delta_m"]}
        for name, methods in tree.items()
        for method, values in methods.items()
        if "delta_m" in values
    ]
    plot = tables / DELTA_M
    write_text(plot, to_csv(pd.DataFrame(bars, columns=["method", "delta_m"])))
    return [*written, plot]


def read_table(path: Path) -> pd.DataFrame:
    """Read one written table; raises `UserError` where it is missing or damaged."""
    try:
        return parse_table(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: make the tables first with `mtcp tables {path.parent.name}`") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run `mtcp tables {path.parent.name}`") from error


def parse_table(source: Path | StringIO) -> pd.DataFrame:
    """Return a table that `to_csv` wrote: only an empty cell is missing, words such as None or nan are text."""
    return pd.read_csv(source, dtype=dict.fromkeys(TEXT, "str"), keep_default_na=False, na_values=[""])


def build_tables(plan: Plan, benchmark: str, partial: bool = False) -> dict[str, pd.DataFrame]:
    """Return {name: table} computed from the runs of `benchmark` in `plan`; see the module's docstring."""
    runs = plan.of(benchmark)
    if not runs:
        planned = ", ".join(plan.project.params.benchmarks)
        raise UserError(f"params.yaml plans no run of benchmark '{benchmark}' (planned: {planned}); add it there")
    unfinished = [run for run in runs if _status(run) not in DONE]
    if unfinished and not partial:
        raise UserError(
            f"{len(unfinished)} of {counted(len(runs), 'run')} of {benchmark} not done ({unfinished[0].name} is "
            f"{_status(unfinished[0])}): run `snakemake`, or ask for `--partial` tables"
        )
    config = with_roles(plan.project, benchmark)
    methods = {run.method: plan.project.method(run.method) for run in runs}
    tidy = pd.DataFrame([row for run in runs for row in _run_rows(run)], columns=RUN_COLUMNS)
    provenance = pd.DataFrame([_provenance(run) for run in runs], columns=PROVENANCE_COLUMNS)
    alpha = alpha_of_look(plan.project.params.looks)
    change = delta_m_rows(tidy, config)
    speed = speed_table(measured(plan, benchmark))
    with_change = pd.concat([with_measured(tidy, speed), change], ignore_index=True)
    history = pd.DataFrame([row for run in runs for row in _history(run)], columns=HISTORY_COLUMNS)
    published = published_numbers(plan.root)
    finished = [run for run in runs if _status(run) == "finished"]
    by_seed_alone = ranks(change, methods)
    claims = load_claims(plan.root / CLAIMS)
    undisturbed = pd.concat([with_measured(without_disturbed(tidy, provenance), speed), change], ignore_index=True)
    judgement = judge(claims, undisturbed, benchmark, config, published, alpha)
    summary = summarise(with_change, config, methods)
    tables = {
        "runs": tidy,
        "history": history,
        "multi_task": change.drop(columns=["status", "flags", "task", "reason"]),
        "summary": summary,
        "comparisons": add_image_intervals(
            compare(with_change, config, methods, alpha),
            draw_metrics(finished, config),
            config,
        ),
        "claims": judgement.claims,
        "pairs": judgement.pairs,
        "paper": paper_tables(with_change, summary, config, methods),
        "methods": describe_methods(tidy, runs, methods).assign(
            wins=lambda rows: [
                int((by_seed_alone[by_seed_alone["rank"] == 1].method == name).sum()) for name in rows.method
            ]
        ),
        "curves": average_curves(history),
        "changes": task_changes(with_change, config, methods),
        "classes": class_differences(finished, config, methods),
        "images": image_changes(finished, config),
        "ranks": by_seed_alone,
        "provenance": provenance,
        "speed": speed,
    }
    if data_set := PUBLISHED_FOR.get(plan.project.data_name(benchmark)):
        tables[LITERATURE] = published[published.dataset == data_set].reset_index(drop=True)
    return tables


def to_csv(table: pd.DataFrame) -> str:
    """Return `table` as CSV text: nine significant digits, Unix line ends."""
    buffer = StringIO()
    table.to_csv(buffer, index=False, float_format="%.9g", lineterminator="\n")
    return buffer.getvalue()


# --- From the store ----------------------------------------------------------------------------------------------


def _status(run: Run) -> str:
    """Return "finished", "diverged", or the state of a run without a result."""
    state = run.state()
    if state not in TRAINED:
        return state
    if run.record().status == "diverged":
        return "diverged"
    return "finished" if state == "done" else "not evaluated"


def _run_rows(run: Run) -> list[dict[str, Any]]:
    status = _status(run)
    record = run.record() if run.run_path.exists() else None
    head = {
        "benchmark": run.benchmark,
        "method": run.method,
        "seed": run.seed,
        "train_key": run.train_key,
        "eval_key": run.eval_key,
        "status": status,
        "environment": record.environment.environment_class if record else "",
    }
    flags = list(record.flags) if record else []
    if record is None or status != "finished":
        reason = (record.reason if record else "") or _failure(run) or f"the run is {status}"
        return [{**head, "flags": ";".join(flags), "value": np.nan, "reason": reason}]
    evaluation = run.metrics()
    if not run.archived:
        require_unchanged(run.directory, evaluation.files, f"remove {run.metrics_path.name} and run `snakemake` again")
    flags += ["non_finite_predictions"] if any(evaluation.non_finite.values()) else []
    head["flags"] = ";".join(flags)
    costs = {
        "parameters": record.parameters,
        "gflops": evaluation.gflops,
        "seconds_per_step": record.seconds_per_step,
        "seconds_per_image": evaluation.seconds_per_image,
        "peak_memory_mb": record.peak_memory_mb,
        "train_seconds": record.seconds,
    }
    rows = [
        {**head, "selection": selection, "output": output, "task": task, "metric": metric, "value": _number(value)}
        for selection, outputs in evaluation.metrics.items()
        for output, tasks in outputs.items()
        for task, values in tasks.items()
        for metric, value in values.items()
    ]
    rows += [{**head, "task": COST, "metric": name, "value": _number(costs[name])} for name in COSTS]
    return rows


def _failure(run: Run) -> str:
    """The first line of a crashed training's error, or nothing."""
    lines = run.failure_path.read_text(errors="replace").splitlines() if run.failure_path.exists() else []
    return lines[0] if lines else ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _history(run: Run) -> list[tuple[str, str, int, int, str, float]]:
    """Return the run's history.csv in long form, without empty cells; empty if the run is not trained."""
    if not run.run_path.exists():
        return []
    written = {HISTORY: run.record().files[HISTORY]}
    require_unchanged(run.directory, written, f"remove {run.directory} and run `snakemake` again")
    return [
        (run.benchmark, run.method, run.seed, int(row["epoch"]), column, value)
        for row in read_history(run.directory / HISTORY)
        for column, value in row.items()
        if column != "epoch"
    ]


def _provenance(run: Run) -> dict[str, Any]:
    head = {"benchmark": run.benchmark, "method": run.method, "seed": run.seed, "status": _status(run)}
    keys = {"train_key": run.train_key, "eval_key": run.eval_key}
    if not run.run_path.exists():
        return {**head, **keys}
    record = run.record()
    environment, git, weights = record.environment, record.git, record.weights or {}
    return {
        **head,
        "reason": record.reason,
        "flags": ";".join(record.flags),
        **keys,
        "commit": git.commit if git else "",
        "dirty": git.dirty if git else "",
        "diff_sha256": (git and git.diff_sha256) or "",
        "data_digest": record.data.digest,
        "data_note": record.data.note,
        "weights_sha256": weights.get("sha256", ""),
        "weights_revision": weights.get("revision", ""),
        "network_sha256": record.files.get(MODEL, ""),
        "environment": environment.environment_class,
        "python": environment.python,
        "torch": environment.packages.get("torch", ""),
        "device": record.device,
        "processor": environment.processor,
        "cores": environment.cores,
        "load": _load(run, record),
        "epochs": record.epochs,
        "train_seconds": record.seconds,
        "started": record.started,
        "finished": record.finished,
    }


def _load(run: Run, record: RunRecord) -> float:
    """The higher load of training and evaluation; NaN if neither was recorded."""
    loads = [record.load, run.metrics().load if _status(run) == "finished" else None]
    return max((load for load in loads if load is not None), default=np.nan)


def published_numbers(root: Path) -> pd.DataFrame:
    """Return results/published.csv as a table; raises `UserError` like `mtcp.core.published`."""
    published = pd.DataFrame([row for _, row in published_rows(root)], columns=list(COLUMNS))
    return published.astype({"value": float})


# --- Over seeds --------------------------------------------------------------------------------------------------


def summarise(table: pd.DataFrame, benchmark: Benchmark, methods: dict[str, Method]) -> pd.DataFrame:
    """Return mean, sd and 95 % t interval over seeds per method x selection x output x task x metric, with ranks.

    Primary metrics of the last epoch's final output are ranked (1 is best): `rank` among all methods except ablations
    and trivial baselines, `rank_ablation` among the reference and its ablations. A method that lacks a seed is not
    ranked, because a mean over the surviving seeds would not be a fair comparison.
    """
    keys = ["method", "selection", "output", "task", "metric"]
    rows = []
    for key, group in table.dropna(subset=["value"]).fillna({"selection": "", "output": ""}).groupby(keys, sort=False):
        values = group.sort_values("seed").value.to_numpy(float)
        low, high = t_interval(values)
        rows.append((*key, values.size, values.mean(), spread(values), low, high))
    summary = pd.DataFrame(rows, columns=[*keys, "n", "mean", "sd", "low", "high"])
    seeds = table[table.task != COST].groupby("method").seed.nunique()
    ranked = [measure for measure in measures(benchmark).values() if measure.task != COST]
    groups = {
        "rank": [name for name, method in methods.items() if method.family not in ("ablation", "trivial")],
        "rank_ablation": [
            name for name, method in methods.items() if method.family == "ablation" or name == benchmark.reference
        ],
    }
    for column, members in groups.items():
        summary[column] = pd.array([pd.NA] * len(summary), dtype="Int64")
        complete = primary(summary[summary.method.isin(members) & (summary.n == summary.method.map(seeds))])
        for measure in ranked:
            chosen = complete[(complete.task == measure.task) & (complete.metric == measure.metric)]
            ranks = chosen["mean"].rank(method="min", ascending=not measure.higher_is_better)
            summary.loc[chosen.index, column] = ranks.astype("Int64")
    summary.insert(0, "benchmark", table.benchmark.iloc[0])
    order = {name: place for place, name in enumerate(methods)}
    return summary.sort_values("method", key=lambda part: part.map(order), kind="stable").reset_index(drop=True)


def compare(
    table: pd.DataFrame, benchmark: Benchmark, methods: dict[str, Method], alpha: float = ALPHA
) -> pd.DataFrame:
    """Return paired comparisons: every trained method with the reference, and with the baseline on Delta_m.

    A family for Holm's correction at error rate `alpha` consists of all methods compared with one reference on one
    measure, as declared by the grid before any run.
    """
    known = {name: measure for name, measure in measures(benchmark).items() if measure.task != COST}
    rivals = [name for name, method in methods.items() if method.family != "trivial"]
    families = [(benchmark.reference, name) for name in known if benchmark.reference in methods]
    if benchmark.baseline in methods and benchmark.baseline != benchmark.reference:
        families.append((benchmark.baseline, "delta_m"))
    rows, settled = [], not open_runs(table)
    for reference, name in families:
        measure, others = known[name], [rival for rival in rivals if rival != reference]
        pairs = [paired(table, rival, reference, measure) for rival in others]
        results = compare_family(
            [pair.improvements for pair in pairs], [measure.rope] * len(pairs), settled=settled, alpha=alpha
        )
        rows += [
            {
                "benchmark": table.benchmark.iloc[0],
                "family": f"{reference}/{name}",
                "method": rival,
                "reference": reference,
                "task": measure.task,
                "metric": measure.metric,
                "unit": measure.unit,
                "seeds": ";".join(map(str, pair.seeds)),
                "environments": "mixed" if pair.mixed else "same",
                **vars(result),
            }
            for rival, pair, result in zip(others, pairs, results, strict=True)
        ]
    return pd.DataFrame(rows)


def describe_methods(table: pd.DataFrame, runs: Sequence[Run], methods: dict[str, Method]) -> pd.DataFrame:
    """Return one row per method: its description, the numbers of finished, diverged and open seeds, its flags."""
    rows = []
    for name, method in methods.items():
        own = table[table.method == name].drop_duplicates("seed")
        flags = sorted({flag for text in own["flags"].fillna("") for flag in text.split(";") if flag})
        config = next(run.config for run in runs if run.method == name)
        rows.append(
            {
                "method": name,
                "label": method.label,
                "family": method.family,
                "description": method.description,
                "architecture": config.architecture.name,
                "scheme": config.scheme.name,
                "seeds": len(own),
                "finished": int((own.status == "finished").sum()),
                "diverged": int((own.status == "diverged").sum()),
                "open": int((~own.status.isin(DONE)).sum()),
                "reasons": "; ".join(dict.fromkeys(own.reason.dropna())),
                "flags": ";".join(flags),
                **_tuning(next(run for run in runs if run.method == name)),
                "environments": ";".join(sorted(set(own.environment) - {""})),
            }
        )
    return pd.DataFrame(rows)


def _tuning(run: Run) -> dict[str, Any]:
    """Return how many configurations the run's method tried, which was chosen, and the cost of the search."""
    record = run.choice.record() if run.choice else None
    spent = cost(record) if record else dict.fromkeys(("cpu_seconds", "gpu_seconds"), np.nan if run.choice else 0.0)
    return {
        "configurations": len(run.choice.trials) if run.choice else 1,
        "chosen": described(record) if record else "",
        **{f"tuning_{name}": seconds for name, seconds in spent.items()},
    }


def average_curves(history: pd.DataFrame) -> pd.DataFrame:
    """Return the history averaged over seeds: n, mean, least and greatest value per method x epoch x column."""
    grouped = history.groupby(["benchmark", "method", "column", "epoch"], sort=False).value
    return grouped.agg(n="count", mean="mean", least="min", greatest="max").reset_index()


def metrics_tree(summary: pd.DataFrame, benchmark: Benchmark) -> dict[str, dict[str, float]]:
    """Return {method: {primary metric of each task, delta_m}}: means over seeds, six significant digits."""
    names = {(task.name, task.metric): f"{task.name}_{task.metric}" for task in benchmark.task_list}
    names[MULTI_TASK, "delta_m"] = "delta_m"
    tree: dict[str, dict[str, float]] = {}
    for row in rows_of(primary(summary)):
        if (row.task, row.metric) in names and np.isfinite(row.mean):
            tree.setdefault(row.method, {})[names[row.task, row.metric]] = float(f"{row.mean:.6g}")
    return tree
