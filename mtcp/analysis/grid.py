"""Adding seeds to the declared grid, also after verdicts have been seen."""

import math
from pathlib import Path
from typing import Any

import yaml

from mtcp.analysis.rows import rows_of
from mtcp.analysis.statistics import alpha_of_look
from mtcp.analysis.tables import read_table
from mtcp.core.config import Params
from mtcp.core.errors import UserError
from mtcp.core.files import read_utf8, read_yaml, write_text
from mtcp.core.project_files import TABLES
from mtcp.core.randomness import LARGEST_SEED
from mtcp.core.words import counted
from mtcp.store.plan import Plan


def add_seeds(root: Path, count: int) -> Plan:
    """Add `count` seeds to params.yaml, above the largest one, and return the new plan.

    Where a verdict could be reached at the present look, `looks` is increased by one: it may have been seen, so the
    next verdicts are stricter (`mtcp.analysis.statistics.alpha_of_look`). Tables with too few seeds for any claim are
    no look: they could conclude nothing, so stopping there was no choice. Comments and order of the file are kept.
    Raises `UserError`, and leaves the file as it was, where the seeds would be too large or cannot be put in place.
    """
    before = Plan.load(root)
    path, params = (before.root / "params.yaml").resolve(), before.project.params  # a link stays a link
    last = max(params.seeds)
    if last + count > LARGEST_SEED:
        raise UserError(
            f"{path}: {counted(count, 'seed')} above {last} would pass {LARGEST_SEED}, the largest one: "
            "add smaller ones there"
        )
    values: dict[str, Any] = {"seeds": [*params.seeds, *range(last + 1, last + 1 + count)]}
    tables = [before.root / TABLES / name / "claims.csv" for name in params.benchmarks]
    if any(_seen(table, params) for table in tables):
        values["looks"] = params.looks + 1
    wanted, text = read_yaml(path, dict) | values, read_utf8(path)
    try:
        for key, value in values.items():
            text = _with_value(path, text, key, value)
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if found != wanted:
        lines = " and ".join(f"`{key}: {_flow(value)}`" for key, value in values.items())
        raise UserError(f"{path} is written in a way that `add-seeds` cannot change: write {lines} there by hand")
    write_text(path, text)
    return Plan.load(root)


def could_conclude(least_n: float, n: float, seeds: int) -> bool:
    """Whether a claim has the seeds that it needs, so that computing its verdict was a look.

    Of measured costs, `n` counts rounds of `mtcp benchmark`, so no more than the grid's `seeds` count. What does not
    vary by chance needs one seed alone: adding seeds cannot change its verdict, so it is no look.
    """
    return 1 < least_n <= min(n, seeds)


def _seen(claims: Path, params: Params) -> bool:
    """Whether a table of claims was computed at the present look, and one could conclude."""
    if not claims.exists():
        return False
    table = read_table(claims)
    try:
        rows = table.astype(dict.fromkeys(("n", "least_n", "alpha"), float)).dropna(subset=["least_n"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{claims} is no table of claims of this version of mtcp: run `mtcp tables {claims.parent.name}`"
        ) from error
    present = [math.isclose(alpha, alpha_of_look(params.looks), rel_tol=1e-6) for alpha in rows.alpha]
    return any(could_conclude(row.least_n, row.n, len(params.seeds)) for row in rows_of(rows[present]))


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).split("\n...")[0].strip()


def _with_value(path: Path, text: str, key: str, value: object) -> str:
    """Return YAML `text` with the value of a top-level key replaced in place, or the key appended."""
    written = _flow(value)
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
