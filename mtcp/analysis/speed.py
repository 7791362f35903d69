"""Measurements of `mtcp benchmark` as rows, which replace the grid's own times where they exist."""

from collections.abc import Iterable
from typing import Final

import pandas as pd

from mtcp.analysis.comparisons import COST
from mtcp.store.records import SpeedRecord

#: A cost's name in tables -> the field of a round.
_FIELDS: Final = {
    "seconds_per_step": "seconds_per_step",
    "seconds_per_image": "seconds_per_image",
    "peak_memory_mb": "step_memory_mb",
}
#: The costs that are measured.
MEASURED: Final = tuple(_FIELDS)
#: The costs that another process on the same cores changes.
_TIMES: Final = ("seconds_per_step", "seconds_per_image", "train_seconds")
COLUMNS: Final = [
    "benchmark", "method", "round", "metric", "value", "image_memory_mb", "others", "device", "threads", "processor",
    "cores", "environment", "measured",
]  # fmt: skip


def speed_table(records: Iterable[SpeedRecord]) -> pd.DataFrame:
    """Return one row per method x round x cost."""
    rows = [
        (
            record.benchmark,
            record.method,
            number,
            metric,
            getattr(one, name),
            one.image_memory_mb,
            one.others,
            record.device,
            record.threads,
            record.environment.processor,
            record.environment.cores,
            record.environment.environment_class,
            record.measured,
        )
        for record in records
        for number, one in enumerate(record.rounds)
        for metric, name in _FIELDS.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def loaded(provenance: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose machine had more load than cores."""
    return provenance[provenance.load > provenance.cores]


def without_disturbed(runs: pd.DataFrame, provenance: pd.DataFrame) -> pd.DataFrame:
    """Return `runs` without the times of runs whose machine had more load than cores: a queue is not a method's cost.

    Their rows stay, with the reason.
    """
    run = ["method", "seed"]
    times = (runs.task == COST) & runs.metric.isin(_TIMES)
    disturbed = times & runs.set_index(run).index.isin(loaded(provenance).set_index(run).index)
    reason = "timed on a machine with more load than cores" + runs.metric.isin(MEASURED).map(
        {True: f"; `mtcp benchmark {runs.benchmark.iloc[0]}` measures it apart", False: ""}
    )
    return runs.assign(value=runs.value.mask(disturbed), reason=runs.reason.mask(disturbed, reason))


def with_measured(runs: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """Return `runs` with measured costs replacing the grid's own; in these rows, rounds replace seeds."""
    if speed.empty:
        return runs
    own = (runs.task == COST) & runs.metric.isin(MEASURED) & runs.method.isin(speed.method)
    measured = speed[["benchmark", "method", "metric", "value", "environment"]].assign(
        seed=speed["round"], task=COST, status="finished", flags=""
    )
    return pd.concat([runs[~own], measured[measured.method.isin(runs.method)]], ignore_index=True)
