"""`mtcp gc` and `mtcp verify --reference`: what they remove, and where they refuse to work."""

import shutil
from pathlib import Path

import pytest

from mtcp.cli.store import gc, verify
from mtcp.core.errors import UserError
from mtcp.store.runs import locked


def test_a_link_is_removed_alone_and_a_run_in_use_hinders_no_other(store, tmp_path_factory, monkeypatch, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "model.safetensors").write_bytes(b"kept")
    runs = store.root / "results/runs/rooms/mtcp"
    runs.mkdir(parents=True)
    link, used, old = (runs / f"seed0-{key * 12}" for key in "abc")
    link.symlink_to(elsewhere)
    old.mkdir()
    (store.root / "config/claims.yaml").unlink()  # of other benchmarks, too
    monkeypatch.chdir(store.root)
    with locked(used), pytest.raises(UserError, match=f"not removed: {used} is in use by process"):
        gc(delete=True)
    assert (link.is_symlink(), used.exists(), old.exists()) == (False, True, False)
    assert (elsewhere / "model.safetensors").read_bytes() == b"kept"
    said = capsys.readouterr().out
    assert "2 superseded runs" in said and "a link: what it leads to stays" in said
    assert link.name in said and old.name in said and used.name not in said


def test_the_reference_is_looked_for_in_a_project_alone(root: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml"):
        verify(reference=True)
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp]\nseeds: [0]\n")
    verify(reference=True)
    assert capsys.readouterr().out == "nothing is archived in results/reference\n", "no head of an empty table"
