"""Rendering a large grid: seconds, memory and bytes of the page, per thousand made-up runs.

`pytest tests/benchmarks/test_report.py --benchmark-only -s` prints them.
"""

import time

import made_up_store
import pytest

from mtcp.analysis.tables import write_tables
from mtcp.core.project import Project
from mtcp.core.usage import peak_memory_mb
from mtcp.report.render import write_report

# Processor time, so that other work on the machine counts as little as can be.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

METHODS, SEEDS = 25, 40


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """The tables of 25 methods on 40 seeds of `rooms`, all finished."""
    known = list(Project(made_up_store.ROOT).grids["ablations"].methods)
    further = [name for name in Project(made_up_store.ROOT).methods if name not in known]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_up_store, "METHODS", tuple([*known, *further][:METHODS]))
        store = made_up_store.make_store(tmp_path_factory.mktemp("thousand"), range(SEEDS))
        store.write_all()
    write_tables(store.plan, "rooms")
    return store


def test_rendering_a_thousand_runs(benchmark, thousand):
    written = benchmark.pedantic(write_report, args=(thousand.root, "rooms"), rounds=1)
    peak = peak_memory_mb("cpu")
    page = written[0].stat().st_size / 1e6
    print(f"\n{len(thousand.plan.runs)} runs: page {page:.1f} MB, peak of the process {peak:.0f} MiB, tables included")
