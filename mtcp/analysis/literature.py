"""Our results beside those of the loss-weighting literature, by scheme, each with its protocol.

Results under different protocols are never ranked together: a rank is among rows with the same data set, network,
batch, augmentation, averaging, selection and shared parameters. Benchmarks on other data than the literature's packages
(such as a derived set) show no published rows.

Units are those of the papers: mIoU, pixel accuracy and within_* in per cent; Delta_m with the fixed base in per cent,
lower is better.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mtcp.analysis.published_weighting import HIGHER, METRICS, SEGNET, Row, read_printed, rows_of
from mtcp.analysis.tables import TABLES, read_table
from mtcp.core.config import Benchmark
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.project_files import PROTOCOLS, PUBLISHED_WEIGHTING
from mtcp.core.published import read_rows
from mtcp.metrics.literature import BATCHES, delta_m_fixed_base

#: The literature's packages, by the name of the data set here.
DATASETS: Final = {"mtan_nyuv2": "NYUv2-13", "mtan_cityscapes": "Cityscapes-7"}
#: Architectures under the names that papers give them.
NETWORKS: Final = {
    "segnet_mtan": "SegNet-MTAN",
    "segnet_split": "SegNet split",
    "segnet_single_task": "SegNet-MTAN",
    "resnet_aspp": "ResNet-50 dilated + ASPP heads (LibMTL)",
    "resnet_aspp_single_task": "ResNet-50 dilated + ASPP heads (LibMTL)",
}
PROTOCOL: Final = ("dataset", "network", "batch_size", "augmentation", "averaging", "selection", "shared")
#: Networks whose Delta_m is relative to the SegNets of the fixed base.
_BASED: Final = (SEGNET, "SegNet split")
#: A printed metric -> (task, our metric, factor from our unit to the printed one).
OURS: Final = {
    "mIoU": ("semseg", "miou", 100),
    "PixAcc": ("semseg", "pixel_accuracy", 100),
    "AbsErr": ("depth", "abs_error", 1),
    "RelErr": ("depth", "rel_error", 1),
    "mean": ("normals", "mean", 1),
    "median": ("normals", "median", 1),
    "within_11.25": ("normals", "within_11_25", 1),
    "within_22.5": ("normals", "within_22_5", 1),
    "within_30": ("normals", "within_30", 1),
}
_ALIASES: Final = {
    "ls": "equal",
    "ew": "equal",
    "equal": "equal",
    "stl": "single_task",
    "single": "single_task",
    "one_task": "single_task",
    "uw": "uncertainty",
    "si": "scale_invariant",
    "igbv2": "igb_v2",
}
COLUMNS: Final = [
    "scheme",
    "origin",
    "method",
    *PROTOCOL,
    "seeds",
    *OURS,
    "delta_m_fixed_base",
    "rank",
    "dominated_by",
    "images_per_second",
    "epochs_at_equal_time",
    "source",
]


@dataclass(frozen=True)
class Protocol:
    """One line of `results/published_protocols.csv`: the protocol of all rows of a source; an empty source is any."""

    dataset: str
    backbone: str
    source: str
    family: str
    batch_size: str
    augmentation: str
    averaging: str
    selection: str
    shared: str

    def covers(self, key: tuple[str, str, str, str]) -> bool:
        """Whether this line applies to the row (dataset, backbone, method, source)."""
        return (self.dataset, self.backbone) == key[:2] and key[3].startswith(self.source)


def read_protocols(path: Path) -> list[Protocol]:
    """Read the protocols, the most specific source first; raises `UserError` like `read_rows`."""
    rows = read_rows(path, tuple(Protocol.__dataclass_fields__))
    return sorted((Protocol(**row) for _, row in rows), key=lambda one: -len(one.source))


def scheme_of(method: str) -> str:
    """Return this project's name of the scheme of a published row; text in brackets is a setting and is dropped."""
    plain = re.sub(r"\s*\(.*?\)", "", method).strip()
    name = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    return _ALIASES.get(name, name)


def literature(project: Project, benchmark: str, scheme: str | None = None) -> pd.DataFrame:
    """Return a table with `COLUMNS`, sorted by scheme, published rows first; `scheme` keeps only that scheme.

    Our rows come from `results/tables/<benchmark>/runs.csv`, if it exists. Raises `UserError` for an unknown scheme.
    """
    config = project.benchmark(benchmark)
    rows = _published(project.root, DATASETS.get(project.data_name(benchmark)))
    runs = project.root / TABLES / benchmark / "runs.csv"
    if runs.exists():
        rows += _ours(project, benchmark, config, read_table(runs), read_table(runs.with_name("summary.csv")))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = _ranked(table.sort_values("scheme", kind="stable").reset_index(drop=True))
    if scheme is None:
        return table
    if scheme not in set(table.scheme):
        raise UserError(
            f"no row of scheme '{scheme}' for {benchmark}: there are {', '.join(sorted(set(table.scheme))) or 'none'}"
        )
    return table[table.scheme == scheme].reset_index(drop=True)


def spread(project: Project) -> pd.DataFrame:
    """Return how much papers differ on the same scheme and network: papers, and least and greatest value by metric."""
    published = read_printed(project.root / PUBLISHED_WEIGHTING)
    groups: dict[tuple[str, str, str], list[tuple[str, Row]]] = {}
    for (dataset, network, method, _), row in rows_of(published).items():
        paper = next(iter(row.values())).paper
        groups.setdefault((dataset, network, scheme_of(method)), []).append((paper, row))
    found = []
    for (dataset, network, scheme), members in groups.items():
        papers = list(dict.fromkeys(paper for paper, _ in members))
        if len(papers) < 2:
            continue
        for metric in OURS:
            values = [one.value for _, row in members for (_, name), one in row.items() if name == metric]
            if values:
                found.append(
                    (dataset, network, scheme, metric, len(papers), min(values), max(values), "; ".join(papers))
                )
    return pd.DataFrame(
        found, columns=["dataset", "network", "scheme", "metric", "papers", "least", "greatest", "sources"]
    )


def _published(root: Path, dataset: str | None) -> list[dict[str, Any]]:
    if dataset is None:
        return []
    published, protocols = read_printed(root / PUBLISHED_WEIGHTING), read_protocols(root / PROTOCOLS)
    rows = []
    for key, row in rows_of(published).items():
        if key[0] != dataset:
            continue
        protocol = next((one for one in protocols if one.covers(key)), None)
        if protocol is None:
            raise UserError(f"{root / PROTOCOLS} says nothing of '{key[1]}' on {key[0]}: add a line")
        values = {
            metric: row[task, metric].value
            for task, names in METRICS.items()
            for metric in names
            if (task, metric) in row
        }
        rows.append(
            {
                "scheme": scheme_of(key[2]),
                "origin": "published",
                "method": key[2],
                "dataset": dataset,
                "network": key[1],
                **{name: getattr(protocol, name) for name in PROTOCOL[2:]},
                **values,
                "delta_m_fixed_base": _delta(values, dataset, key[1]),
                "source": key[3],
            }
        )
    return rows


def _delta(values: Mapping[str, float], dataset: str | None, network: str) -> float:
    """Delta_m with the fixed base, from values in the papers' units.

    NaN where a value is missing, and for data sets and networks to which the base does not belong.
    """
    if network not in _BASED:
        return float("nan")
    own: dict[str, dict[str, float]] = {}
    for metric, (task, name, scale) in OURS.items():
        if metric in values:
            own.setdefault(task, {})[name] = values[metric] / scale
    try:
        return delta_m_fixed_base(own, dataset or "")
    except UserError:
        return float("nan")


def _ours(
    project: Project, benchmark: str, config: Benchmark, runs: pd.DataFrame, summary: pd.DataFrame
) -> list[dict[str, Any]]:
    final = runs[(runs.status == "finished") & (runs.output == "final")]
    seconds = summary[summary.metric == "seconds_per_step"].set_index("method")["mean"]
    rows = []
    for (method, selection), group in final.dropna(subset=["value"]).groupby(["method", "selection"], sort=False):
        method, selection = str(method), str(selection)
        chosen = project.resolve(benchmark, method, int(group.seed.iloc[0]))
        by_metric = group.groupby(["task", "metric"])
        seeds = by_metric.seed.nunique()
        # A metric that some of the seeds lack is left out: its mean would be one of other runs.
        means: dict[Any, float] = by_metric.value.mean()[seeds == seeds.max()].to_dict()
        for averaging, ending in (("batches", BATCHES), ("pooled", "")):
            values = _values(means, ending)
            if averaging == "batches" and not any(f"abs_error{BATCHES}" == metric for _, metric in means):
                continue
            step = seconds.get(method, float("nan"))
            rows.append(
                {
                    "scheme": "single_task" if "single_task" in method else chosen.scheme.name,
                    "origin": "ours",
                    "method": method,
                    "dataset": DATASETS.get(project.data_name(benchmark), f"{benchmark} (other data)"),
                    "network": NETWORKS.get(chosen.architecture.name, chosen.architecture.name),
                    "batch_size": str(chosen.training.batch_size * chosen.training.accumulate),
                    "augmentation": chosen.augmentation.policy,
                    "averaging": averaging,
                    "selection": _selection(selection, config, chosen.training.last_epochs),
                    "shared": chosen.scheme.given.get("shared_parameters", ""),
                    "seeds": int(seeds.max()),
                    **values,
                    "delta_m_fixed_base": _delta(
                        values, DATASETS.get(project.data_name(benchmark)), NETWORKS.get(chosen.architecture.name, "")
                    ),
                    "images_per_second": chosen.training.batch_size / step,
                    "epochs_at_equal_time": chosen.training.epochs * seconds.get(config.reference, float("nan")) / step,
                    "source": f"results/tables/{benchmark}/runs.csv",
                }
            )
    _mark_dominated(rows)
    return rows


def _values(means: Mapping[Any, float], ending: str) -> dict[str, float]:
    """Our metrics in the papers' units, from `means` by (task, metric).

    `ending`: suffix of the metrics to prefer where they exist, such as those averaged over batches.
    """
    found = {}
    for metric, (task, name, scale) in OURS.items():
        key = next((key for key in ((task, name + ending), (task, name)) if key in means), None)
        if key is not None:
            found[metric] = scale * float(means[key])
    return found


def _selection(selection: str, config: Benchmark, last_epochs: int) -> str:
    words = {
        "last": "last epoch",
        "validation": "best epoch on validation",
        "best_on_test": "best epoch on test",
        "last_epochs_mean": f"mean of the last {last_epochs} epochs on test",
    }.get(selection, selection)
    held = config.validation_share
    return f"{words}, trained on {100 * (1 - held):g} %" if held else words


def _mark_dominated(rows: Sequence[dict[str, Any]]) -> None:
    """Note for every row the fixed weights of the same protocol that dominate it."""
    for row in rows:
        rivals = [
            other
            for other in rows
            if other["scheme"] in ("fixed", "equal")
            and other is not row
            and all(other[name] == row[name] for name in PROTOCOL if name != "shared")
        ]
        row["dominated_by"] = ", ".join(other["method"] for other in rivals if dominates(other, row))


def dominates(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `one` is at least as good as `other` in every metric that both have, and better in one."""
    shared = [metric for metric in OURS if metric in one and metric in other]
    gains = [(one[metric] - other[metric]) * (1 if metric in HIGHER else -1) for metric in shared]
    return bool(gains) and min(gains) >= 0 and max(gains) > 0


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Rank Delta_m within each protocol with at least two values; rows with an incomplete protocol are not ranked."""
    known = (table[["batch_size", "augmentation"]].fillna("") != "").all(axis=1)
    ranks = table[known].groupby(list(PROTOCOL), dropna=False).delta_m_fixed_base
    ranks = ranks.rank(method="min").where(ranks.transform("count") > 1)
    return table.assign(rank=ranks.reindex(table.index))
