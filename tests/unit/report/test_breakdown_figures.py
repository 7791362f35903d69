"""Charts of differences from the baseline."""

import pandas as pd

from mtcp.core.project import Project
from mtcp.report.breakdown_figures import changes_chart


def test_the_baseline_has_a_line_where_it_is_highlighted(root) -> None:
    """The reader may highlight it in all charts, and its change against itself is zero."""
    methods = pd.DataFrame({"method": ["base", "other"], "label": ["Base", "Other"], "family": "scheme"})
    changes = pd.DataFrame(
        {"method": ["other"], "task": ["depth"], "n": [4], "mean": [1.0], "low": [0.5], "high": [2.0]}
    )
    spec = changes_chart(changes, methods, Project(root).benchmark("rooms").task_list, "base")
    assert spec is not None
    own = [
        layer for layer in spec["layer"] if {"zero": 0, "method": "base", "label": "Base"} in layer["data"]["values"]
    ]
    assert [layer["transform"] for layer in own] == [[{"filter": "datum.method == first || datum.method == second"}]]
