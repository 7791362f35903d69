"""The program behind the figures of docs/performance.md runs; what it measures is not judged here."""

import importlib.util
import re
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks/test_network.py"


@pytest.mark.slow
def test_the_table_has_a_row_for_every_step_and_part(capsys):
    spec = importlib.util.spec_from_file_location("printed_figures", BENCHMARK)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    setting = {"name": "rooms", "size": None, "precision": "fp32", "batch": 2, "compile": False}
    program.table([setting])
    program.parts(setting)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    steps = [row for row in rows if row[0] == "| fp32"]
    assert [row[3] for row in steps] == ["train", "infer"]
    assert all(float(row[4]) > 0 and float(re.sub(r"\W+$", "", row[7])) > 0 for row in steps)
    parts = {row[0].removeprefix("| "): row for row in rows if len(row) == 4}
    assert {"encoder", "hfp", "fpn", "cfm", "traceback", "head"} < parts.keys()
    assert all(float(parts[name][1]) > 0 for name in ("encoder", "hfp", "cfm"))
