"""Mistakes in configuration: every one named, in one sentence."""

from typing import Literal

import pytest
from pydantic import Field

from mtcp.core.errors import UserError
from mtcp.core.validation import Model, validated


class Part(Model):
    size: int = Field(ge=1)
    colour: str


class Whole(Model):
    part: Part
    seeds: tuple[int, ...] = ()
    evidence: Literal["code", "figure", "text"] = "code"
    share: float = 0.0
    validation_share: float = 0.0


def test_what_is_right_passes():
    assert validated(Whole, {"part": {"size": 1, "colour": "red"}}, "f.yaml").part.size == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"part": {}}, "f.yaml, keys 'x.part.size', 'x.part.colour': required, and missing"),
        ({"part": {"size": 0, "colour": "red"}}, "f.yaml, key 'x.part.size': .*greater than or equal to 1, got 0"),
        ({"part": {"size": 1, "colour": "red", "hue": 3}}, r"'x.part.hue': unknown key \(known: colour, size\)"),
        ({"part": {"size": 1, "colour": "red", "held_out": 0.1}}, "'x.part.held_out': unknown key"),
        ({"part": {"size": 1, "colour": "red"}, "held_out": 0.1}, "'x.held_out': is called `validation_share` now"),
        ({"part": {"size": "two", "colour": "red"}}, "x.part.size': expected a whole number, got 'two'"),
        ({"part": {"size": 1.5, "colour": "red"}}, "x.part.size': expected a whole number, got 1.5"),
        ({"part": {"size": 1, "colour": 3}}, "x.part.colour': expected text, got 3"),
        ({"part": {"size": 1, "colour": "red"}, "share": "big"}, "x.share': expected a number, got 'big'"),
        ({"part": {"size": 1, "colour": "red"}, "seeds": 3}, r"x.seeds': expected a list such as \[0, 1\], got 3"),
        ({"part": {"size": 1, "colour": "red"}, "sede": [3]}, r"x.sede': unknown key; did you mean 'seeds'\?"),
        (
            {"part": {"size": 1, "colour": "red"}, "evidence": "figur"},
            r"evidence': expected one of code, figure, text; got 'figur' \(did you mean 'figure'\?\)",
        ),
        ({"part": {"size": 0}, "share": "big"}, "'x.part.colour': required, .*; key 'x.part.size': .*; key 'x.share'"),
    ],
)
def test_every_mistake_is_named(content: dict, message: str):
    with pytest.raises(UserError, match=message):
        validated(Whole, content, "f.yaml", "x")


def test_a_path_adds_the_lines(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("x:\n  part:\n    size: 0\n  hue: 3\n")
    with pytest.raises(UserError) as caught:
        validated(Whole, {"part": {"size": 0}, "hue": 3}, path, "x")
    assert str(caught.value) == (
        f"{path}, line 2, key 'x.part.colour': required, and missing; "
        "line 3, key 'x.part.size': expected a value greater than or equal to 1, got 0; "
        "line 4, key 'x.hue': unknown key (known: evidence, part, seeds, share, validation_share)"
    )
    path.write_text("- {}\n- {part: {size: 1, colour: red},\n   hue: 3}\n")
    with pytest.raises(UserError, match=r"f.yaml, line 3, entry 2, key 'hue': unknown key"):
        validated(Whole, {"part": {"size": 1, "colour": "red"}, "hue": 3}, path, 1)
