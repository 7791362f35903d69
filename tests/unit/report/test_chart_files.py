"""Charts as vector PDF, from the page's own specifications."""

import json
import re

import pytest

from mtcp.report.chart_files import write_charts
from mtcp.report.view import build_view

pytestmark = pytest.mark.slow

CHARTS = {"delta-m": "forest", "tasks": "changes", "seeds": "strips", "gradients": "gradients"}


@pytest.fixture
def charts(tabled):
    view = build_view(tabled.root, "rooms")
    return {name: view[key] for name, key in CHARTS.items()}


def test_every_chart_is_a_pdf_without_pixels(charts, tmp_path):
    (tmp_path / "stale.pdf").write_bytes(b"")
    written = write_charts(tmp_path, charts, "mtcp", "single_task")
    names = ["delta-m", "tasks", "seeds-segmentation", "seeds-depth", "seeds-normals", "seeds-edges"]
    assert [path.stem for path in written] == names
    assert {path.stem for path in tmp_path.glob("*.pdf")} == set(names)
    for path in written:
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert b"/Subtype /Image" not in content


def test_the_printed_specification_has_colours_width_and_the_methods_brought_out(charts, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("vl_convert.vegalite_to_pdf", lambda spec: drawn.append(spec) or b"%PDF")
    write_charts(tmp_path, {"delta-m": charts["delta-m"]}, "mtcp", "uncertainty")
    (spec,) = drawn
    assert "var(--" not in json.dumps(spec)
    assert "var(--accent)" in json.dumps(charts["delta-m"])  # the page's own is left as it was
    assert re.fullmatch("#[0-9a-f]{6}", spec["config"]["axis"]["labelColor"])
    assert spec["width"] == 468
    assert '"legend": null' not in json.dumps(spec)
    assert {each["name"]: each["value"] for each in spec["params"]} == {"first": "mtcp", "second": "uncertainty"}
