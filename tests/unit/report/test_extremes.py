"""Sheets of the best, the median and the worst test image."""

from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.files import write_record
from mtcp.core.project_files import MODEL
from mtcp.core.roles import with_roles
from mtcp.data.locks import manifest_path
from mtcp.data.preparation import sets
from mtcp.evaluation import chosen_sheets
from mtcp.report import extremes as extremes_file
from mtcp.report.extremes import draw_extremes, extremes
from mtcp.report.render import write_report
from mtcp.store.runs import locked

pytestmark = pytest.mark.slow

PLACED = {"best": ("scene3", 4.5), "median": ("area/scene1", 0.5), "worst": ("scene2", -7.25)}


@pytest.fixture
def placed(tabled):
    rows = [("rooms", "mtcp", image, 4, change, change, change, place) for place, (image, change) in PLACED.items()]
    rows.append(("rooms", "mtcp", "scene9", 4, 0.1, 0.1, 0.1, None))
    path = tabled.root / "results/tables/rooms/images.csv"
    pd.DataFrame(rows, columns=pd.read_csv(path).columns).to_csv(path, index=False)
    return tabled


def found(store):
    tables = (pd.read_csv(store.root / f"results/tables/rooms/{name}.csv", dtype={"train_key": str})
              for name in ("images", "provenance"))  # fmt: skip
    return list(extremes(store.root, "rooms", with_roles(store.plan.project, "rooms"), *tables))


def test_each_place_is_shown_as_reference_and_baseline_see_it_at_their_first_seed(placed):
    shown = found(placed)
    assert [(each.place, each.method) for each in shown] == [
        (place, method) for place in PLACED for method in ("mtcp", "single_task")
    ]
    assert shown[0].words == "best: image scene3, Δm +4.50 % over 4 seeds"
    assert shown[4].words == "worst: image scene2, Δm −7.25 % over 4 seeds"
    run = placed.plan.run("rooms", "mtcp", 0)
    assert shown[2].path == run.directory / "extremes/01-area_scene1.png"


def test_the_page_shows_the_sheets_first_and_does_without_them(placed):
    page = write_report(placed.root, "rooms")[0].read_text()
    assert "By Δm of the image alone" not in page  # no network, no data: nothing is drawn
    for each in found(placed):
        each.path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), "red").save(each.path)
    page = write_report(placed.root, "rooms")[0].read_text()
    assert page.count("<summary>By Δm of the image alone") == 3
    assert "MT-CP (as intended), worst image" in page


def test_nothing_is_drawn_twice(placed):
    for each in found(placed):
        each.path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(each.path)
        (each.path.parents[1] / "model.safetensors").write_bytes(b"")
    (placed.root / "data/rooms").mkdir(parents=True)
    draw_extremes(placed.root, "rooms")  # would fail on the empty network


def test_only_checked_data_are_drawn_and_under_the_lock_of_the_run(placed, monkeypatch):
    drawn, record = [], SimpleNamespace(files={MODEL: ""}, run_config=lambda: None)
    for each in found(placed):
        (each.path.parents[1] / MODEL).write_bytes(b"")
    (placed.root / "data/rooms").mkdir(parents=True)
    monkeypatch.setattr(extremes_file, "require_unchanged", lambda *arguments: None)
    monkeypatch.setattr(extremes_file.RunRecord, "read", lambda path: record)
    monkeypatch.setattr(chosen_sheets, "write_chosen_sheets", lambda folder, *others: drawn.append(in_use(folder)))
    draw_extremes(placed.root, "rooms")
    assert drawn == []  # nobody checked the data
    write_record(manifest_path(placed.plan.project, "rooms"), {"fingerprint": "", "content": ""})
    with pytest.raises(UserError, match="no data for 'rooms'"):  # others than were checked
        draw_extremes(placed.root, "rooms")
    monkeypatch.setattr(sets, "require_checked", lambda *arguments: {})
    draw_extremes(placed.root, "rooms")
    assert drawn == [True, True]


def in_use(folder):
    try:
        with locked(folder.parent):
            return False
    except UserError:
        return True
