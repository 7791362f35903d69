"""The verdicts of a report in words."""

from types import SimpleNamespace

import pandas as pd
import pytest

from mtcp.report.verdicts import _picture


@pytest.mark.parametrize(("n", "said"), [(1, "Improvement on 1 round: 0"), (2, "Improvement on 2 rounds: 0, 1")])
def test_one_round_is_no_plural(n: int, said: str) -> None:
    pairs = pd.DataFrame({"seed": range(n), "improvement": [float(place) for place in range(n)]})
    row = SimpleNamespace(n=float(n), unit="round", rope=1.0, holm_low=0.0, holm_high=1.0, improvement=0.0)
    shown = SimpleNamespace(number=lambda value, signed=False: f"{value:g}", unit="%")
    assert _picture(pairs, row, shown)["words"].startswith(said + ";")
