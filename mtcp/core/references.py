"""A check that names which one configuration file uses from another are known, before any work is done."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtcp.core.claims import Claim, Published, load_claims
from mtcp.core.errors import UserError, alternatives
from mtcp.core.inheritance import Resolved
from mtcp.core.ledger import load_ledger
from mtcp.core.measures import CHANGES, COSTS
from mtcp.core.plugins import PluginParameters, find, load
from mtcp.core.project import Project
from mtcp.core.project_files import CLAIMS, LEDGER, PUBLISHED
from mtcp.core.published import MEANINGS, PUBLISHED_FOR, published_rows
from mtcp.core.run_config import PluginConfig
from mtcp.core.tasks import KINDS, METRICS
from mtcp.core.validation import explained, fault


def require_known_names(project: Project) -> None:
    """Raise `UserError` with file, line and key for the first name that is not defined anywhere.

    Reads `params.yaml`, its benchmarks, all methods, the claims, the ledger and the published numbers. Files of other
    benchmarks are read only where a claim about a task with a non-standard name lists them.
    """
    known = {kind: find(kind, project.root, faulty=True) for kind in ("scheme", "architecture")}
    path = project.methods_path
    for name, method in project.methods.items():
        for kind, names in known.items():
            _require(getattr(method, kind).name, names, kind, path, name, kind, "name", root=project.root)
    params = project.root / "params.yaml"
    for place, name in enumerate(project.params.benchmarks):
        _require(name, project.benchmark_names(), "benchmark", params, "benchmarks", place)
        require_known_in_benchmark(project, name, known["scheme"])
    for place, name in enumerate(project.params.methods):
        _require(name, project.methods, "method", params, "methods", place)
    _require_known_claims(project)
    ledger = project.root / LEDGER
    for place, row in enumerate(load_ledger(ledger)):
        for number, cover in enumerate(row.covered_by):
            if cover.startswith("method "):
                _require(cover.removeprefix("method "), project.methods, "method", ledger, place, "covered_by", number)


def require_known_in_benchmark(project: Project, name: str, schemes: Collection[str]) -> None:
    """Raise `UserError` where a benchmark has parameters for none of the `schemes`, or an unknown method as a role."""
    benchmark, path = project.benchmark(name), project.benchmark_path(name)
    for scheme in benchmark.scheme_parameters:
        _require(scheme, schemes, "scheme", path, "scheme_parameters", scheme, root=project.root)
    for role in ("baseline", "reference"):
        _require(getattr(benchmark, role), project.methods, "method", path, role)


def require_method_parameters(project: Project, name: str) -> None:
    """Raise `UserError` with file and line for a parameter that the method's architecture or scheme does not take.

    Imports the plug-ins, and so torch; what is missing may come from a benchmark.
    """
    method, entry = project.method(name), project.method_entry(name)
    for kind in ("architecture", "scheme"):
        plugin: PluginConfig = getattr(method, kind)
        _require_parameters(project.root, kind, plugin.name, plugin.given, entry, (kind,))


def require_benchmark_parameters(project: Project, name: str, schemes: Collection[str] | None = None) -> None:
    """Raise `UserError` as `require_method_parameters` does, for `scheme_parameters`: all, or those of `schemes`."""
    entry = project.benchmark_entry(name)
    for scheme, given in project.benchmark(name).scheme_parameters.items():
        if schemes is None or scheme in schemes:
            _require_parameters(project.root, "scheme", scheme, given, entry, ("scheme_parameters", scheme))


def _require_parameters(
    root: Path, kind: str, name: str, given: Mapping[str, Any], entry: Resolved, keys: tuple[str, ...]
) -> None:
    declared: type[PluginParameters] = load(kind, name, root).Parameters
    try:
        declared.model_validate(given)
    except ValidationError as error:
        for mistake in error.errors():
            if mistake["type"] != "missing" and mistake["loc"]:
                place = (*keys, *map(str, mistake["loc"]))
                raise entry.fault(place, f"{kind} '{name}': {explained(mistake, declared)}") from error


def _require_known_claims(project: Project) -> None:
    path, claims = project.root / CLAIMS, load_claims(project.root / CLAIMS)
    published = _published_rows(project, claims)
    for place, claim in enumerate(claims):
        for role in ("method", "reference"):
            if (name := getattr(claim, role)) is not None:
                _require(name, project.methods, "method", path, place, role)
        for benchmark in claim.benchmarks:
            _require(benchmark, project.benchmark_names(), "benchmark", path, place, "benchmarks")
        known = dict(METRICS) if claim.measure in (*CHANGES, *KINDS, *COSTS) else METRICS | _own_metrics(project, claim)
        _require(claim.measure, (*CHANGES, *known, *COSTS), "measure", path, place, "measure")
        if claim.metric is not None and claim.measure in known:
            _require(claim.metric, known[claim.measure], f"metric of {claim.measure}", path, place, "metric")
        if claim.published is not None and published:
            _require_number(claim, claim.published, published, path, place)


def _published_rows(project: Project, claims: Sequence[Claim]) -> list[dict[str, str]]:
    """The rows of results/published.csv; raises `UserError` where neither a report nor a claim would read one."""
    rows = published_rows(project.root)
    read = {*PUBLISHED_FOR.values(), *(claim.published.dataset for claim in claims if claim.published is not None)}
    for line, row in rows:
        if (name := row["dataset"]) not in read:
            raise UserError(
                f"{project.root / PUBLISHED}, line {line}: nothing reads dataset '{name}'{alternatives(name, read)}"
            )
    return [row for _, row in rows]


def _own_metrics(project: Project, claim: Claim) -> dict[str, Collection[str]]:
    """The metrics by task, common to all benchmarks that have the task and on which the claim can be tested."""
    found: dict[str, Collection[str]] = {}
    for name in claim.benchmarks or project.params.benchmarks:
        for task in project.benchmark(name).task_list:
            known = METRICS[task.kind]
            found[task.name] = [metric for metric in found.get(task.name, known) if metric in known]
    return found


def _require_number(claim: Claim, number: Published, published: list[dict[str, str]], path: Path, place: int) -> None:
    """Raise `UserError` unless the claim's number is there once, measures what the claim does, and has our unit."""
    wanted = number.model_dump(exclude={"scale"})
    found = sum(all(row[column] == value for column, value in wanted.items()) for row in published)
    if found != 1:
        raise fault(
            path, (place, "published"),
            f"{PUBLISHED} has {found or 'no'} rows '{' '.join(wanted.values())}' where one is needed",
        )  # fmt: skip
    own_name = claim.measure not in (*CHANGES, *KINDS, *COSTS)
    if own_name or (meaning := MEANINGS.get((number.task, number.metric))) is None:
        return
    measure, metrics, scale = meaning
    if claim.measure != measure or (claim.metric is not None and claim.metric not in metrics):
        what, claimed = ("metric", claim.metric) if claim.measure == measure else ("measure", claim.measure)
        right = " or ".join(metrics) if what == "metric" else measure
        raise fault(path, (place, "published"), f"'{number.task} {number.metric}' is {right}, the {what} is {claimed}")
    if number.scale != scale:
        raise fault(
            path, (place, "published"),
            f"'{number.task} {number.metric}' is printed in another unit than ours: give `scale: {scale:g}`",
        )  # fmt: skip


def _require(
    name: str, known: Collection[str], kind: str, path: Path, *keys: str | int, root: Path | None = None
) -> None:
    """Raise `UserError` for an unknown name; of a plug-in, that of a faulty file of `root`, which may define it."""
    if name not in known:
        if root is not None:
            find(kind, root)
        raise fault(path, keys, f"unknown {kind} '{name}'{alternatives(name, known)}")
