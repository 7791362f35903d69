"""Adding seeds to the declared grid, also after verdicts have been seen."""

import csv
from pathlib import Path

import yaml

from mtcp.core.config import LARGEST_SEED
from mtcp.core.errors import UserError
from mtcp.core.files import write_text
from mtcp.core.project_files import TABLES
from mtcp.core.words import counted
from mtcp.store.plan import Plan


def add_seeds(root: Path, count: int) -> Plan:
    """Add `count` seeds to params.yaml, above the largest one, and return the new plan.

    Where a verdict could be reached before, `looks` is increased by one: it may have been seen, so the next verdicts
    are stricter (`mtcp.analysis.statistics.alpha_of_look`). Tables with too few seeds for any claim are no look: they
    could conclude nothing, so stopping there was no choice. Comments and order of the file are kept. Raises `UserError`
    where the seeds would be too large.
    """
    before = Plan.load(root)
    path, params = before.root / "params.yaml", before.project.params
    tables = [before.root / TABLES / name / "claims.csv" for name in params.benchmarks]
    seen = any(_seen(table, len(params.seeds)) for table in tables)
    last = max(params.seeds)
    if last + count > LARGEST_SEED:
        raise UserError(
            f"{path}: {counted(count, 'seed')} above {last} would pass {LARGEST_SEED}, the largest one: "
            "add smaller ones there"
        )
    text = _with_value(path, path.read_text("utf-8"), "seeds", [*params.seeds, *range(last + 1, last + 1 + count)])
    if seen:
        text = _with_value(path, text, "looks", params.looks + 1)
    write_text(path, text)
    return Plan.load(root)


def could_conclude(least_n: float, n: float, seeds: int) -> bool:
    """Whether a claim has the seeds that it needs, so that computing its verdict was a look.

    Of measured costs, `n` counts rounds of `mtcp benchmark`, so no more than the grid's `seeds` count. What does not
    vary by chance needs one seed alone: adding seeds cannot change its verdict, so it is no look.
    """
    return 1 < least_n <= min(n, seeds)


def _seen(claims: Path, seeds: int) -> bool:
    """Whether a table of claims exists in which one could conclude."""
    if not claims.exists():
        return False
    with claims.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["least_n"]]
    return any(could_conclude(float(row["least_n"]), float(row["n"]), seeds) for row in rows)


def _with_value(path: Path, text: str, key: str, value: object) -> str:
    """Return YAML `text` with the value of a top-level key replaced in place, or the key appended."""
    written = yaml.safe_dump(value, default_flow_style=True).split("\n...")[0].strip()
    node = yaml.compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path} must hold `key: value` lines")
    for name, old in node.value:
        if name.value == key:
            # A block list's end mark is where the next key begins, after comments that do not belong to the list.
            block = isinstance(old, yaml.SequenceNode) and not old.flow_style
            end = old.value[-1].end_mark if block else old.end_mark
            return text[: name.end_mark.index] + f": {written}" + text[end.index :]
    if node.flow_style:
        return text[: node.end_mark.index - 1] + f", {key}: {written}}}" + text[node.end_mark.index :]
    return text.rstrip("\n") + f"\n{key}: {written}\n"
