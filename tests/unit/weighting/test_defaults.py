"""The table of defaults in docs/schemes.md: a row for every declared parameter, with the default that the code has."""

import re

import pytest

from mtcp.core import plugins
from mtcp.weighting.defaults import DEFAULTS, OF_GRADIENT_SCHEMES

DECLARED = {
    (name, parameter): field
    for name in plugins.find("scheme")
    for parameter, field in plugins.load("scheme", name).Parameters.model_fields.items()
}


@pytest.fixture(scope="module")
def rows():
    text = (
        (plugins.PACKAGE_ROOT / "docs/schemes.md").read_text(encoding="utf-8").split("# Defaults and their sources")[1]
    )
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("|")][2:]
    return {(scheme.strip("`"), parameter.strip("`")): rest for scheme, parameter, *rest in cells}


def test_every_parameter_has_a_source_and_every_source_a_parameter():
    own = {key for key in DECLARED if key[1] not in OF_GRADIENT_SCHEMES}
    assert own == set(DEFAULTS)
    assert all(all(source) for source in (*DEFAULTS.values(), *OF_GRADIENT_SCHEMES.values()))


def test_ours_is_the_codes_default(rows):
    for (name, parameter), field in DECLARED.items():
        scheme = "cost `gradients" if parameter in OF_GRADIENT_SCHEMES else name
        ours = rows[scheme, parameter][2]
        assert ours == ("required" if field.is_required() else str(field.default)), (name, parameter)
    assert len(rows) == len(DEFAULTS) + len(OF_GRADIENT_SCHEMES)
