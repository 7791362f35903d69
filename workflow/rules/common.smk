# What the rules share: the plan (params.yaml and config/, validated by mtcp.core.config) and how to call mtcp.
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from mtcp.core.errors import UserError
from mtcp.core.published import PUBLISHED_FOR
from mtcp.core.project_files import DELTA_M, LITERATURE, RECORD, RUNS, TABLE_NAMES, TABLES, mean_metrics_file, metrics_file
from mtcp.store.integrity import require_stamped
from mtcp.store.plan import Plan, key_of, runs_of

if config:
    raise WorkflowError(
        f"--config {' '.join(config)}: the grid is read from params.yaml alone, whose content names every result. Change "
        "it there, or try another one with `dvc exp run -S 'seeds=[0]'`"
    )

# `dvc repro` runs this workflow as its one stage, and would find only afterwards that it cannot cache the results.
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
            require_stamped(stamp)  # an edited table is named, not taken for what the runs gave
except UserError as error:
    raise WorkflowError(str(error)) from None

#: For `dvc metrics` and `dvc plots`, over all benchmarks.
MEANS = [
    *(
        f"{TABLES}/{mean_metrics_file(benchmark, method)}"
        for benchmark in BENCHMARKS
        for method in PLAN.project.params.methods
    ),
    f"{TABLES}/{DELTA_M}",
]

# The interpreter that runs Snakemake has the packages, also where its folder is not on the PATH.
MTCP = f"{quote(sys.executable)} -m mtcp"


wildcard_constraints:
    benchmark="[a-z0-9_]+",
    method="[a-z0-9_]+",
    seed="[0-9]+",
    train_key="[0-9a-f]{16}",
    eval_key="[0-9a-f]{16}",
    key="[0-9a-f]{16}",


def relative(path):
    """Targets are relative to the project, so that a moved or cloned project has the same ones."""
    return str(Path(path).relative_to(PLAN.root))


def needed_by(target, *inputs):
    """`inputs` where `target` is missing, else nothing.

    ancient() silences times, not "updated by another job": a new check or manifest would run finished work again.
    """
    return [] if Path(target).exists() else list(inputs)


def unless_done(target, *inputs):
    """`inputs`, as ancient() where `target` is there: content decides whether it is right, not times.

    Where it is missing they must not be ancient: when a checkpoint changes the graph, Snakemake drops all that hangs by
    an ancient file on a running job which has written it already, and ends well with work undone.
    """
    return [ancient(path) for path in inputs] if Path(target).exists() else list(inputs)


def by_seed(wildcards):
    """Priority of a run: all methods of one seed before the next seed, so that early partial tables compare like with
    like. Above 0, the priority of everything else."""
    seeds = PLAN.project.params.seeds
    return len(seeds) - seeds.index(int(wildcards.seed))


def run_inputs(target):
    """Input function of a job on one run: its data and its checked methods."""
    needed = {name: (relative(MANIFESTS[name]), relative(stamps.check)) for name, stamps in STAMPS.items()}
    return lambda wildcards: needed_by(target.format(**wildcards), *needed[wildcards.benchmark])


def in_report(path, caption, benchmark):
    """An output that `snakemake --report` shows, under its benchmark, with the caption workflow/report/<caption>.rst."""
    caption_file, category = f"../report/{caption}.rst", BENCHMARKS[benchmark].label
    return report(path, caption=caption_file, category=category, labels={"table": caption})


def metrics_of(benchmark, method):
    """The metrics of one method, as an input of its tables: under a budget they are known once the choice is made."""
    runs, stamp = [run for run in PLAN.of(benchmark) if run.method == method], STAMPS[benchmark].tables
    choice = runs[0].choice
    if choice is None:
        return unless_done(stamp, *(relative(run.metrics_path) for run in runs))

    def inputs(wildcards):
        if not choice.path.exists():
            checkpoints.choose.get(benchmark=benchmark, method=method, key=choice.key)
        chosen = runs_of(PLAN.project, benchmark, method, [run.seed for run in runs])
        return unless_done(stamp, *(relative(run.metrics_path) for run in chosen))

    return inputs


def targets():
    """What a full reproduction leaves: tables, reports, the metrics of all benchmarks, and their stamps."""
    tables = [f"{TABLES}/{name}/{table}.csv" for name in STAMPS for table in TABLE_NAMES]
    reports = expand("reports/{name}.{ending}", name=STAMPS, ending=["html", "tex"])
    stamps = [PLAN.metrics_stamp(), *(path for each in STAMPS.values() for path in (each.tables, each.report))]
    return [*tables, *reports, *MEANS, *map(relative, stamps)]
