"""Odd contents of a project: refused in one sentence when the plan is made, or ignored where they are harmless."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mtcp.core.data_sets import layout_names
from mtcp.core.errors import UserError
from mtcp.core.plugins import faults_named, find, load, parameters
from mtcp.core.project import Project
from mtcp.store.plan import Plan

METHODS, GRIDS, ROOMS = "config/methods.yaml", "config/grids.yaml", "config/benchmarks/rooms.yaml"
SCHEME = '''\
from mtcp.api import LossScheme, scheme


@scheme("mine")
class Mine(LossScheme):
    """The sum."""

    def total(self, losses, present):
        return losses.sum()
'''


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp, single_task]\nseeds: [0]\n")
    return tmp_path


def appended(file: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / file).write_text((root / file).read_text() + text) and None


def params(**changes: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        content = yaml.safe_load((root / "params.yaml").read_text())
        (root / "params.yaml").write_text(yaml.safe_dump(content | changes))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (appended(METHODS, "\n3: {extends: mtcp, label: Three}\n"), r"line \d+, key '3': 3 is no text in YAML"),
        (appended(METHODS, f"\n{'x' * 300}: {{extends: mtcp, label: L}}\n"), "is too long for a name"),
        (appended(METHODS, "\nmine: {extends: mtcp, label: MTAN}\n"), r"key 'mine.label': mtan is called 'MTAN', too"),
        (appended(METHODS, "\nmine: {extends: mtcp, label: ''}\n"), "key 'mine.label'"),
        (appended(METHODS, "\nmine: {extends: mine, label: Mine}\n"), r"key 'mine.extends': 'mine' extends itself$"),
        (
            appended(METHODS, "\nmine: {extends: own, label: Mine}\nown: {extends: own, label: Own}\n"),
            r"key 'own.extends': 'own' extends itself$",
        ),
        (appended(METHODS, "\nmine: {label: Mine, family: method, architecture: mtcp}\n"), "expected a mapping"),
        (appended(GRIDS, "\nmtcp: {description: d, methods: [dwa]}\n"), "key 'mtcp': 'mtcp' is a method, too"),
        (appended(GRIDS, "\nmy grid: {description: d, methods: [dwa]}\n"), "'my grid' is not a name"),
        (appended(GRIDS, "\nmine: [dwa]\n"), r"key 'mine': expected a mapping of keys to values, got \['dwa'\]"),
        (appended(METHODS, "\nyes: {extends: mtcp, label: Yes}\n"), "YAML reads yes, no, on and off as true and false"),
        (params(benchmarks=["my bench"]), "key 'benchmarks.0': 'my bench' is not a name: use"),
        (params(methods=["default", "ablations"]), "'default' and 'ablations' both have 'trivial_prior': write out"),
        (params(methods=["default", "mtcp"]), r"key 'methods.1': 'mtcp' is in the grid 'default', too: name it once"),
        (params(seeds=[2**64]), "key 'seeds.0'"),
    ],
)  # fmt: skip
def test_it_is_refused_with_file_and_key(project: Path, change: Callable[[Path], None], said: str) -> None:
    Plan.load(project)
    change(project)
    with pytest.raises(UserError) as caught:
        Plan.load(project)
    assert str(caught.value).startswith(str(project))
    assert re.search(said, str(caught.value)), caught.value


@pytest.mark.parametrize(("key", "value"), [("height", 10**9), ("resources", {"threads": 100_000})])
def test_a_size_that_no_machine_has_is_refused(project: Path, key: str, value: object) -> None:
    content = yaml.safe_load((project / ROOMS).read_text())
    (project / ROOMS).write_text(yaml.safe_dump(content | {key: value}))
    with pytest.raises(UserError, match=rf"rooms\.yaml, line \d+, key '{key}"):
        Plan.load(project)


@pytest.mark.parametrize("name", ["../benchmarks/rooms", "rooms/", "Rooms", ""])
def test_a_benchmark_is_asked_for_by_its_name(project: Path, name: str) -> None:
    with pytest.raises(UserError, match="unknown benchmark"):
        Project(project).benchmark(name)


@pytest.mark.parametrize("place", ["plugins/.#mine.py", "config/benchmarks/.#rooms.yaml", "data/.#own.yaml"])
def test_what_an_editor_leaves_is_ignored(project: Path, place: str) -> None:
    """Emacs marks an open file by a link to nothing."""
    path = project / place
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("user@host.1234:1700000000")
    Plan.load(project)
    assert find("scheme", project) == find("scheme")
    assert path.stem not in (*Project(project).benchmark_names(), *layout_names(project))


def test_a_file_managers_copy_is_no_benchmark(project: Path) -> None:
    shutil.copy(project / ROOMS, project / "config/benchmarks/rooms copy.yaml")
    (project / "config/benchmarks/gone.yaml").symlink_to("nowhere.yaml")
    assert not {"rooms copy", "gone"} & {*Project(project).benchmark_names()}
    with pytest.raises(UserError, match=r"rooms copy\.yaml: 'rooms copy' is not a name: use .*; rename it"):
        Project(project).benchmark("rooms copy")


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _nothing(path: Path) -> None:
    path.symlink_to("gone.py")


def _too_deep(path: Path) -> None:
    path.write_text("(" * 100_000)


def _null(path: Path) -> None:
    path.write_bytes(b"x = 1\0")


@pytest.mark.parametrize("make", [_folder, _loop, _nothing, os.mkfifo, _too_deep, _null])
def test_a_plug_in_that_cannot_be_read_stops_nobody_who_does_not_use_it(project: Path, make: Callable) -> None:
    make(project / "plugins/odd.py")
    assert len(Plan.load(project).runs) == 2
    with pytest.raises(UserError, match=r"plug-in .*odd\.py (is no file|cannot be read as Python)"):
        find("scheme", project)


def test_an_unfinished_plug_in_is_named_to_who_uses_it(project: Path) -> None:
    (project / "plugins/mine.py").write_text(SCHEME)
    appended(METHODS, "\nmine: {extends: mtcp, label: Mine, scheme: {name: mine}}\n")(project)
    params(methods=["mine"])(project)
    Plan.load(project)
    (project / "plugins/mine.py").write_text(SCHEME + "\ndef half(\n")
    with pytest.raises(UserError, match=r"plug-in .*mine\.py cannot be read as Python"):
        Plan.load(project)
    params(methods=["mtcp"])(project)
    text = (project / METHODS).read_text()
    (project / METHODS).write_text(text.replace("\nmine: {extends: mtcp, label: Mine, scheme: {name: mine}}\n", ""))
    Plan.load(project)
    text = (project / ROOMS).read_text()
    (project / ROOMS).write_text(text.replace("  lps:", "  mine: {}\n  lps:"))
    with pytest.raises(UserError, match=r"plug-in .*mine\.py cannot be read as Python"):
        Plan.load(project)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"TEXT = '''\n{SCHEME.replace(chr(34) * 3, '')}'''\n", "says scheme 'mine' in its text, and defines none"),
        (SCHEME + "\nraise SystemExit(3)\n", "does not import: SystemExit: 3"),
    ],
)
def test_a_file_without_its_scheme_is_one_sentence(project: Path, text: str, said: str) -> None:
    (project / "plugins/mine.py").write_text(text)
    with pytest.raises(UserError, match=said):
        load("scheme", "mine", project)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("(self, losses, present)", "(self, losses)"), r"total\(self, losses\) must take \(self, losses, present\)$"),
        (
            ("    def total", "    def __init__(self):\n        pass\n\n    def total"),
            r"__init__\(self\) must take \(self, co",
        ),
        (
            ("    def total", "    def end_epoch(self, n):\n        pass\n\n    def total"),
            r"end_epoch\(self, n\) must take",
        ),
    ],
)
def test_a_method_that_does_not_take_what_it_is_given_is_named(project: Path, change, said: str) -> None:
    (project / "plugins/mine.py").write_text(SCHEME.replace(*change))
    with pytest.raises(UserError, match=rf"^scheme 'mine' in .*mine\.py: {said}"):
        load("scheme", "mine", project)


@pytest.mark.parametrize(
    "change",
    [
        ("present)", "present=None, *others, power=2, **more)"),
        ("    def total(self, ", "    @staticmethod\n    def total("),
    ],
)
def test_a_method_may_take_it_in_other_ways(project: Path, change: tuple[str, str]) -> None:
    (project / "plugins/mine.py").write_text(SCHEME.replace(*change))
    assert load("scheme", "mine", project).__name__ == "Mine"


@pytest.mark.parametrize("own", ["Parameters = {'power': 1}", "class Parameters:\n        power = 1"])
def test_parameters_of_another_class_are_one_sentence(project: Path, own: str) -> None:
    (project / "plugins/mine.py").write_text(SCHEME + f"\n    {own}\n")
    with pytest.raises(UserError, match=r"scheme 'mine' in .*mine\.py: `Parameters` must be a class that derives from"):
        load("scheme", "mine", project)


def test_a_class_of_no_base_is_one_sentence(project: Path) -> None:
    (project / "plugins/mine.py").write_text(SCHEME.replace("(LossScheme)", ""))
    with pytest.raises(UserError, match=r"scheme 'mine' in .*mine\.py must derive from LossScheme, GramianScheme or"):
        load("scheme", "mine", project)


def test_a_plug_in_with_a_byte_order_mark_is_read(project: Path) -> None:
    (project / "plugins/mine.py").write_text(SCHEME, encoding="utf-8-sig")
    assert load("scheme", "mine", project).__name__ == "Mine"


@pytest.mark.parametrize("line", ["from .first import First", "from first import First"])
def test_a_plug_in_builds_on_another_and_faults_there_are_named(project: Path, line: str) -> None:
    first = SCHEME.replace("mine", "first").replace("Mine", "First").replace("losses.sum()", "losses.nothing()")
    (project / "plugins/first.py").write_text(first)
    (project / "plugins/mine.py").write_text(
        f'{line}\nfrom mtcp.api import scheme\n\n\n@scheme("mine")\nclass Mine(First):\n    """As the first."""\n'
    )
    try:
        mine = load("scheme", "mine", project)
        with (
            pytest.raises(UserError, match=r"^here: AttributeError in .*/plugins/first\.py, line 9: "),
            faults_named("here"),
        ):
            mine.total(None, [], [])
    finally:
        for name in ("first", "mtcp_user_plugins.first"):
            sys.modules.pop(name, None)


def test_a_parameter_that_no_configuration_can_set_is_refused(project: Path) -> None:
    own = SCHEME + "\n    class Parameters(PluginParameters):\n        name: str = 'x'\n"
    (project / "plugins/mine.py").write_text(own.replace("import ", "import PluginParameters, ", 1))
    with pytest.raises(UserError, match=r"scheme 'mine' in .*mine.py has a parameter 'name'"):
        parameters("scheme", "mine", {}, project)


def test_what_a_plug_in_prints_is_no_part_of_a_commands_output(project: Path, capsys) -> None:
    (project / "plugins/mine.py").write_text(SCHEME + "\nprint('loaded')\n")
    load("scheme", "mine", project)
    assert capsys.readouterr() == ("", "loaded\n")


@pytest.mark.parametrize(
    ("semseg", "said"),
    [
        ("coding: zero, values: {7: 0, 8: 1}", "instead of `coding`: give one of them"),
        ("values: {7: 0, 8: 2}", "`values` has no class 1: number classes from 0 without gaps"),
    ],
)
def test_a_description_that_says_two_things_is_refused(project: Path, semseg: str, said: str) -> None:
    (project / "data").mkdir()
    (project / "data/own.yaml").write_text(
        f"title: Own\nimages: '{{split}}/{{id}}.png'\ntasks:\n  semseg: {{files: 'labels/{{id}}.png', {semseg}}}\n"
    )
    text = (project / ROOMS).read_text()
    (project / "config/benchmarks/own.yaml").write_text(text.replace("layout: nyud", "layout: own"))
    with pytest.raises(UserError, match=said):
        Project(project).benchmark("own")
