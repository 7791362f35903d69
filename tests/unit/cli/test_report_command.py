"""`mtcp report --with-images` writes a page of its own, which is never taken for the public one."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_up_store import Store

from mtcp.analysis.tables import write_tables
from mtcp.cli.init import _GITIGNORE
from mtcp.cli.report import report
from mtcp.core.errors import UserError
from mtcp.report.render import write_report
from mtcp.store.archive import _sources
from mtcp.store.integrity import stamped_problems, stamping
from mtcp.store.plan import Plan


@pytest.mark.slow
def test_the_public_page_and_its_stamp_stay(done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = done.plan.stamps("rooms")
    with stamping(stamps.tables) as paths:
        paths += write_tables(done.plan, "rooms")
    with stamping(stamps.report) as paths:
        paths += write_report(done.root, "rooms")
    before = {path: path.read_bytes() for path in (done.root / "reports").iterdir()}
    monkeypatch.setattr(Plan, "load", lambda *_: done.plan)
    monkeypatch.chdir(done.root)
    report("rooms", with_images=True)
    private = done.root / "reports/rooms-private.html"
    assert {path: path.read_bytes() for path in private.parent.iterdir() if path != private} == before
    assert stamps.report.exists() and stamped_problems(stamps.report) == []
    assert private.exists() and private not in set(_sources(done.plan, "rooms"))


@pytest.mark.parametrize("option", [{"pdf": True}, {"figures": True}])
def test_the_private_page_comes_alone(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="--with-images writes the private page alone"):
        report("rooms", with_images=True, **option)


@pytest.mark.parametrize("ignored", ["checkout", "study"])
def test_git_ignores_it(root: Path, tmp_path: Path, ignored: str) -> None:
    text = (root / ".gitignore").read_text(encoding="utf-8") if ignored == "checkout" else _GITIGNORE
    (tmp_path / ".gitignore").write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "check-ignore", "-q", "reports/rooms-private.html"]
    assert subprocess.run(command, check=False).returncode == 0


def test_dvc_ignores_it(root: Path) -> None:
    """reports/ is an output of dvc.yaml, so that `dvc push` would upload whatever lies there."""
    assert "/reports/*-private.html" in (root / ".dvcignore").read_text(encoding="utf-8").splitlines()
