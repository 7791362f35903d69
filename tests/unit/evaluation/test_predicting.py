"""Photographs of a user: how they are read, and what is drawn of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.tasks import make_task
from mtcp.evaluation.predicting import read_photograph, require_photographs, write_predictions


def test_sixteen_bits_of_grey_are_scaled_and_turned(tmp_path: Path) -> None:
    stored = np.array([[0, 30000, 65535], [65535, 65535, 65535]], np.uint16)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turned to the right
    Image.fromarray(stored).save(tmp_path / "mine.png", exif=turned)
    found = read_photograph(tmp_path / "mine.png")
    assert found[..., 0].tolist() == [[255, 0], [255, 117], [255, 255]]
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_photograph_whose_white_is_unknown_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "mine.tif")
    with pytest.raises(UserError, match=rf"mine\.tif has the mode {mode} .*: convert it to 8 bits"):
        read_photograph(tmp_path / "mine.tif")


def test_every_photograph_is_looked_for_first(tmp_path: Path) -> None:
    mine, text, folder = tmp_path / "mine.png", tmp_path / "text.png", tmp_path / "photographs"
    Image.new("RGB", (4, 3)).save(mine)
    text.write_text("a text")
    folder.mkdir()
    require_photographs([mine])
    for other, words in (
        (tmp_path / "gone.png", r"gone\.png is not a file"),
        (text, r"text\.png cannot be decoded"),
        (folder, r"photographs is a folder: name its photographs, such as .*photographs/\*\.jpg"),
        (mine, "two photographs are called 'mine'"),
    ):
        with pytest.raises(UserError, match=words):
            require_photographs([mine, other])


def test_a_sheet_has_the_photograph_once(tmp_path: Path) -> None:
    photograph = np.full((20, 30, 3), (250, 0, 250), np.uint8)
    values = {"depth": np.linspace(1, 5, 600, dtype=np.float32).reshape(20, 30), "edge": np.zeros((20, 30), np.float32)}
    tasks = [make_task("depth"), make_task("edge")]
    sheet = np.asarray(Image.open(write_predictions(tmp_path, "pink", photograph, values, tasks, {})[-1]))
    pink = (sheet == (250, 0, 250)).all(axis=-1)
    high, wide = pink.any(axis=1).sum(), pink.any(axis=0).sum()
    assert pink.sum() == high * wide and abs(high / wide - 20 / 30) < 0.01, "one rectangle"


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1)])
def test_a_photograph_that_is_a_line_has_a_sheet(tmp_path: Path, size: tuple[int, int]) -> None:
    values = np.linspace(1, 5, 3000, dtype=np.float32).reshape(size)
    photograph = np.zeros((*size, 3), np.uint8)
    written = write_predictions(tmp_path, "line", photograph, {"depth": values}, [make_task("depth")], {})
    assert [path.name for path in written] == ["line-depth.png", "line-depth.npy", "line-sheet.png"]
    assert Image.open(written[-1]).height < 10_000
