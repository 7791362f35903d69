# The common part of the rules: the plan (params.yaml and config/, validated by mtcp.core.project) and calls of mtcp.
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from mtcp.core.errors import UserError
from mtcp.core.published import PUBLISHED_FOR
from mtcp.core.project_files import (
    DELTA_M,
    LITERATURE,
    RECORD,
    RUNS,
    TABLE_NAMES,
    TABLES,
    mean_metrics_file,
    metrics_file,
)
from mtcp.store.integrity import require_stamped
from mtcp.store.plan import Plan, key_of, runs_of

if config:
    raise WorkflowError(
        f"--config {' '.join(config)}: the grid is read from params.yaml alone, whose content names every result. Change "
        "it there, or try another one with `dvc exp run -S 'seeds=[0]'`"
    )

# `dvc repro` runs this workflow as a single stage, and would notice only afterwards that it cannot cache the results.
LINKED = [name for name in ("results", "reports") if Path(name).is_symlink()]
if "DVC_STAGE" in os.environ and LINKED:
    raise WorkflowError(
        f"{LINKED[0]} is a symbolic link, and DVC caches nothing behind one: run `snakemake --cores all` instead of "
        "`dvc repro`, or give DVC's cache the other disk (`dvc cache dir PATH`) and keep a folder here"
    )

try:
    PLAN = Plan.load(Path.cwd())
    BENCHMARKS = {name: PLAN.project.benchmark(name) for name in PLAN.project.params.benchmarks}
    RESOURCES = {name: benchmark.resources for name, benchmark in BENCHMARKS.items()}
    STAMPS = {name: PLAN.stamps(name) for name in RESOURCES}
    MANIFESTS = {name: PLAN.manifest(name) for name in RESOURCES}
    CHOICES = {(choice.benchmark, choice.method): choice for choice in PLAN.choices}
    if workflow.is_main_process:
        for note in PLAN.notes():
            print(f"note: {note}", file=sys.stderr)
        for stamp in (PLAN.metrics_stamp(), *(path for each in STAMPS.values() for path in (each.tables, each.report))):
            require_stamped(stamp)  # an edited table is reported, and not taken for a result of the runs
except UserError as error:
    raise WorkflowError(str(error)) from None

#: Files for `dvc metrics` and `dvc plots`, for all benchmarks.
MEANS = [
    *(
        f"{TABLES}/{mean_metrics_file(benchmark, method)}"
        for benchmark in BENCHMARKS
        for method in PLAN.project.params.methods
    ),
    f"{TABLES}/{DELTA_M}",
]

#: The record of a run, which is written when its training is over.
RUN = f"{RUNS}/{{benchmark}}/{{method}}/seed{{seed}}-{{train_key}}/{RECORD}"

# The interpreter that runs Snakemake has the packages, even if its folder is not on the PATH.
MTCP = f"{quote(sys.executable)} -m mtcp"


wildcard_constraints:
    benchmark="[a-z0-9_]+",
    method="[a-z0-9_]+",
    seed="[0-9]+",
    train_key="[0-9a-f]{16}",
    eval_key="[0-9a-f]{16}",
    key="[0-9a-f]{16}",


def relative(path):
    """Return `path` relative to the project, so that a moved or cloned project has the same targets."""
    return str(Path(path).relative_to(PLAN.root))


def needed_by(target, *inputs):
    """Return `inputs` if `target` is missing, else nothing.

    ancient() ignores times but not "updated by another job": a new check or manifest would rerun finished work.
    """
    return [] if Path(target).exists() else list(inputs)


def unless_done(target, *inputs):
    """Return `inputs`, as ancient() if they and `target` exist: its content decides whether it is valid, not times.

    If one is missing, inputs must not be ancient: when a checkpoint changes the graph, Snakemake drops jobs that depend
    through an ancient file on a running job that has already written it, and reports success with work undone.
    """
    done = all(Path(path).exists() for path in (target, *inputs))
    return [ancient(path) for path in inputs] if done else list(inputs)


def by_seed(wildcards):
    """Priority of a run: all methods of one seed before the next seed, so that early partial tables are comparable.
    Above 0, the priority of all other jobs."""
    seeds = PLAN.project.params.seeds
    return len(seeds) - seeds.index(int(wildcards.seed))


def run_inputs(target):
    """Return the input function of a job on one run: the benchmark's data and the check of its methods."""
    needed = {name: (relative(MANIFESTS[name]), relative(stamps.check)) for name, stamps in STAMPS.items()}
    return lambda wildcards: needed_by(target.format(**wildcards), *needed[wildcards.benchmark])


def needs(wildcards):
    """The resources of a run's job: training is over where the run's record exists."""
    resources = RESOURCES[wildcards.benchmark]
    return resources.evaluation if Path(RUN.format(**wildcards)).exists() else resources


def in_report(path, caption, benchmark):
    """An output that `snakemake --report` shows, under its benchmark, with the caption workflow/report/<caption>.rst."""
    caption_file, category = f"../report/{caption}.rst", BENCHMARKS[benchmark].label
    return report(path, caption=caption_file, category=category, labels={"table": caption})


def results_of(runs):
    """The metrics of runs; also the record of a run that has metrics but, since it was removed, no record."""
    removed = [run.run_path for run in runs if run.metrics_path.exists() and not run.run_path.exists()]
    return [relative(path) for path in (*(run.metrics_path for run in runs), *removed)]


def metrics_of(benchmark, method):
    """The metrics of one method as an input of the tables; under a budget, they are known only after the choice."""
    runs, stamp = [run for run in PLAN.of(benchmark) if run.method == method], STAMPS[benchmark].tables
    choice = runs[0].choice
    if choice is None:
        return unless_done(stamp, *results_of(runs))

    def inputs(wildcards):
        if not choice.path.exists():
            checkpoints.choose.get(benchmark=benchmark, method=method, key=choice.key)
        chosen = runs_of(PLAN.project, benchmark, method, [run.seed for run in runs])
        return unless_done(stamp, *results_of(chosen))

    return inputs


def targets():
    """The files of a full reproduction: tables, reports, the metrics of all benchmarks, and their stamps.

    And what was removed of finished runs: Snakemake makes a missing file again only where it is asked for.
    """
    tables = [f"{TABLES}/{name}/{table}.csv" for name in STAMPS for table in TABLE_NAMES]
    reports = expand("reports/{name}.{ending}", name=STAMPS, ending=["html", "tex"])
    stamps = [PLAN.metrics_stamp(), *(path for each in STAMPS.values() for path in (each.tables, each.report))]
    results = results_of([run for run in PLAN.runs if not run.waiting])
    removed = [path for path in results if not Path(path).exists()]
    return [*tables, *reports, *MEANS, *map(relative, stamps), *removed]
