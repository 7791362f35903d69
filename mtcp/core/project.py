"""The configuration of a project folder: its files, read and checked, and the configuration of each run.

Every mistake is reported in one sentence with file and key.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from mtcp.core.config import USUAL_READINGS, Benchmark, Grid, Method, Params
from mtcp.core.data_sets import require_layout
from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import read_yaml, visible
from mtcp.core.inheritance import Entry, Resolved, resolved
from mtcp.core.names import name_fault
from mtcp.core.run_config import RunConfig, TaskConfig, unequal_shares
from mtcp.core.task_names import task_name_fault
from mtcp.core.tasks import METRICS, misfits
from mtcp.core.validation import fault, validated

#: Keys of a benchmark that determine a rendered data set.
_RENDERS: Final = frozenset({"rendered", "height", "width"})


class Project:
    """The configuration of a project folder; files are read once, on first use."""

    def __init__(self, root: Path | str = ".") -> None:
        self.root = Path(root).resolve()
        self._benchmarks: dict[str, Benchmark] = {}

    @cached_property
    def params(self) -> Params:
        """What to run; a grid's name in `methods` is replaced by the grid's methods."""
        path = self.root / "params.yaml"
        given = read_yaml(path, dict)
        if isinstance(names := given.get("methods"), list):
            given = {**given, "methods": _methods_of(names, self.grids, path)}
        return validated(Params, given, path)

    @cached_property
    def grids(self) -> dict[str, Grid]:
        path = self.root / "config/grids.yaml"
        entries = read_yaml(path, dict) if path.exists() else {}
        for name in entries:
            _check_name(name, path)
            if name in self._method_entries:
                raise fault(path, (name,), f"'{name}' is a method, too: rename the grid")
        return {name: validated(Grid, entry, path, name) for name, entry in entries.items()}

    @property
    def methods_path(self) -> Path:
        return self.root / "config/methods.yaml"

    @cached_property
    def methods(self) -> dict[str, Method]:
        contents = {name: self.method_entry(name).content for name in self._method_entries}
        found = {name: validated(Method, content, self.methods_path, name) for name, content in contents.items()}
        _require_own_labels({name: method.label for name, method in found.items()}, self.methods_path)
        return found

    @cached_property
    def _method_entries(self) -> dict[str, Any]:
        entries = read_yaml(self.methods_path, dict)
        for name in entries:
            _check_name(name, self.methods_path)
        return entries

    def method_entry(self, name: str) -> Resolved:
        """A method's entry with everything that it inherits, and where each value was written.

        `search` is inherited only from where the `scheme` was last changed, and the family `reference` is inherited as
        `method`, since there is only one reference.
        """
        entries, path = self._method_entries, self.methods_path
        found = resolved(name, partial(_entry_in, entries, path), lambda: entries)
        own = _mapping(entries[name])
        if found.bases and found.content.get("family") == "reference" and "family" not in own:
            found.content["family"] = "method"
        if isinstance(search := found.content.get("search"), dict):
            found.content["search"] = _searched(search, [_mapping(entries[one]) for one in (name, *found.bases)])
        return found

    def benchmark_path(self, name: str) -> Path:
        return self.root / f"config/benchmarks/{name}.yaml"

    def benchmark_names(self) -> list[str]:
        folder = self.root / "config/benchmarks"
        if not folder.is_dir():
            raise UserError(f"{folder} is missing: run the command from the project's folder")
        return [path.stem for path in visible(folder, "*.yaml") if path.is_file() and not name_fault(path.stem)]

    def benchmark(self, name: str) -> Benchmark:
        """Return benchmark `name`; raises `UserError` listing the known ones if there is none."""
        if name in self._benchmarks:
            return self._benchmarks[name]
        path = self.benchmark_path(name)
        if name not in (known := self.benchmark_names()):
            if "/" not in name and path.exists():
                raise UserError(f"{path}: {name_fault(name) or 'not a file'}; rename it, or move it away")
            raise UserError(f"unknown benchmark '{name}' in config/benchmarks/{alternatives(name, known)}")
        benchmark = validated(Benchmark, self.benchmark_entry(name).content, path)
        _require_sound(benchmark.tasks, path)
        _require_readings(benchmark, path)
        if problem := unequal_shares(benchmark.training, benchmark.resources.together):
            raise fault(path, ("resources",), problem)
        require_layout(benchmark.layout, benchmark.task_list, self.root, path)
        self._benchmarks[name] = benchmark
        return benchmark

    def benchmark_entry(self, name: str) -> Resolved:
        """A benchmark's entry with everything that it inherits, and where each value was written.

        It uses the data set of its base, unless its changes (`rendered`, `height`, `width`) make a rendered set another
        one.
        """

        def entry_of(one: str) -> Entry | None:
            path = self.benchmark_path(one)
            return Entry(read_yaml(path, dict), path) if path.exists() else None

        found = resolved(name, entry_of, self.benchmark_names)
        if not found.bases:
            return found
        own = {keys[0] for keys, entry in found.origins.items() if entry.path == self.benchmark_path(name)}
        if "data" in own:
            return found
        found.content.pop("data", None)
        if found.content.get("rendered") is None or not own & _RENDERS:
            base = found.bases[0]
            found.content["data"] = self.benchmark_entry(base).content.get("data") or base
            found.origins["data",] = Entry({}, self.benchmark_path(base))
        return found

    def data_name(self, benchmark: str) -> str:
        """Name of a benchmark's data set; benchmarks may share one, such as nyud at two image sizes."""
        return self.benchmark(benchmark).data or benchmark

    def method(self, name: str) -> Method:
        """Return method `name`; raises `UserError` listing the known ones if there is none."""
        if name not in self.methods:
            if name in self.grids:
                listed = ", ".join(self.grids[name].methods)
                raise UserError(
                    f"'{name}' is a grid (config/grids.yaml), not a method: name one of its methods, {listed}"
                )
            raise UserError(f"unknown method '{name}' in config/methods.yaml{alternatives(name, self.methods)}")
        return self.methods[name]

    def resolve(self, benchmark: str, method: str, seed: int) -> RunConfig:
        """Merge a benchmark and a method into the configuration of one run; the method takes precedence."""
        bench, chosen = self.benchmark(benchmark), self.method(method)
        defaults = bench.scheme_parameters.get(chosen.scheme.name, {})
        return validated(
            RunConfig,
            {
                **bench.model_dump(
                    include={
                        "layout", "tasks", "height", "width", "encoder", "channels", "upsample", "augmentation",
                        "validation_share", "evaluation",
                    }
                ),
                "benchmark": benchmark,
                "method": method,
                "seed": seed,
                "architecture": chosen.architecture.model_dump(),
                "scheme": {**defaults, **chosen.scheme.model_dump()},
                "losses": chosen.losses.model_dump(),
                "training": {**bench.training.model_dump(), **chosen.training},
                "processes": bench.resources.together,
            },
            self.methods_path,
            method,
        )  # fmt: skip


def _require_sound(tasks: Mapping[str, TaskConfig], path: Path) -> None:
    """Raise `UserError` for the first of a benchmark's `tasks` with an invalid name, option or label."""
    for name, options in tasks.items():
        if problem := task_name_fault(name):
            raise fault(path, ("tasks", name), problem)
        for option, problem in misfits(name, options.model_dump()):
            raise fault(path, ("tasks", name, option), problem)
    _require_own_labels({name: options.task(name).label for name, options in tasks.items()}, path, "tasks")


def _require_readings(benchmark: Benchmark, path: Path) -> None:
    """Raise `UserError` for the first of `delta_m_readings` with a taken name, an unknown task or an unknown metric."""
    for reading, metrics in benchmark.delta_m_readings.items():
        if reading in USUAL_READINGS:
            what = f"'{reading}' is the tables' own Delta_m over several metrics: give this one another name"
            raise fault(path, ("delta_m_readings", reading), what)
        for task, metric in metrics.items():
            keys = ("delta_m_readings", reading, task)
            if task not in benchmark.kinds:
                raise fault(path, keys, f"'{task}' is not among the tasks{alternatives(task, benchmark.kinds)}")
            known = METRICS[benchmark.kinds[task]]
            if metric not in known:
                raise fault(path, keys, f"'{metric}' is not a metric of {task}{alternatives(metric, known)}")


def _require_own_labels(labels: Mapping[str, str], path: Path, *prefix: str) -> None:
    """Raise `UserError` for the first entry with the label of another one, since tables show labels alone."""
    labelled: dict[str, str] = {}
    for name, label in labels.items():
        if (other := labelled.setdefault(label, name)) != name:
            raise fault(path, (*prefix, name, "label"), f"{other} is called '{label}', too: give one another `label`")


def _methods_of(names: list[Any], grids: Mapping[str, Grid], path: Path) -> list[Any]:
    """Return the methods that `names` of methods and grids stand for.

    Raises `UserError` where a method stands beside a grid that has it, or in two grids.
    """
    found: list[Any] = []
    first: dict[str, Any] = {}
    for place, name in enumerate(names):
        grid = grids.get(name) if isinstance(name, str) else None
        for method in grid.methods if grid else [name]:
            other = first.setdefault(str(method), name)
            if other != name and grid and other in grids:
                what = f"'{other}' and '{name}' both have '{method}': write out the methods of one of them"
                raise fault(path, ("methods", place), what)
            if other != name:
                what = f"'{method}' is in the grid '{name if grid else other}', too: name it once"
                raise fault(path, ("methods", place), what)
            found.append(method)
    return found


def _searched(search: Mapping[str, Any], chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ranges of `search` written no further away than the nearest entry of the `chain` that sets `scheme`."""
    changed = next((place for place, entry in enumerate(chain) if "scheme" in entry), len(chain))
    kept = {key for entry in chain[: changed + 1] for key in _mapping(entry.get("search"))}
    return {key: limits for key, limits in search.items() if key in kept}


def _entry_in(entries: Mapping[str, Any], path: Path, name: str) -> Entry | None:
    return Entry(_mapping(entries[name]), path, (name,)) if name in entries else None


def _mapping(content: Any) -> dict[str, Any]:
    """The entry, or an empty one where it is not a mapping: validation then reports what is missing."""
    return content if isinstance(content, dict) else {}


def _check_name(name: Any, path: Path) -> None:
    if problem := name_fault(name):
        raise fault(path, (str(name),), problem)
