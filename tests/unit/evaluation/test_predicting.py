"""Photographs of a user: how they are read, and what is drawn of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.evaluation.predicting import read_photograph


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
