"""The charts of a page as PDF for LaTeX, from the same specifications, in the light theme's colours."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import vl_convert

from mtcp.core.files import replacing

#: Width in points: twice the column of a WACV paper (3.25 inches, 72 points per inch); charts are scaled by one half.
_WIDTH: Final = 468
_FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"


def write_charts(folder: Path, charts: Mapping[str, Any], first: str, second: str) -> list[Path]:
    """Write `<name>.pdf` of every chart to `folder`, and remove other PDFs there; return the paths.

    `charts`: {name: {"title", "spec"}, a list of these, or None}. `first` and `second` are the highlighted methods.
    """
    folder.mkdir(parents=True, exist_ok=True)
    colours, written = _colours(), []
    for name, spec in _named(charts):
        written.append(folder / f"{name}.pdf")
        with replacing(written[-1]) as temporary:
            temporary.write_bytes(vl_convert.vegalite_to_pdf(_for_print(spec, colours, first, second)))
    for path in set(folder.glob("*.pdf")) - set(written):
        path.unlink()
    return written


def _named(charts: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in charts.items():
        if isinstance(found, list):
            for item in found:
                yield f"{name}-{re.sub(r'[^a-z0-9]+', '-', item['title'].lower()).strip('-')}", item["spec"]
        elif found:
            yield name, found["spec"]


def _for_print(spec: dict[str, Any], colours: Mapping[str, str], first: str, second: str) -> dict[str, Any]:
    """The specification with fixed width, colours instead of CSS variables, and the highlighted methods.

    Legends that are shown once on the page, above all charts of a kind, are added to each file.
    """
    text = re.sub(r"var\(--([a-z0-9-]+)\)", lambda found: colours[found.group(1)], json.dumps(spec))
    text = text.replace('"legend": null', '"legend": {"title": null, "orient": "top"}')
    printed = json.loads(text) | {"width": _WIDTH}
    printed["config"]["font"] = _FONT
    for parameter in printed.get("params", ()):
        parameter["value"] = {"first": first, "second": second}.get(parameter["name"], parameter.get("value"))
    return printed


def _colours() -> dict[str, str]:
    """The light theme's colours, from the page's style sheet."""
    style = files("mtcp.report").joinpath("templates/report.css").read_text("utf-8")
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", style[: style.index("}")]))
