"""A Mask2Former that transformers 4.46.3 saved, the hub's form, loads and computes what it did there.

`vectors/mask2former_4_46.json` holds its config.json, the name and shape of every tensor in the file, and every 59th
value of R for the image of `values.py`. Parameters are `value("mask2former.<name>", shape)`; tensors of integers and
of the criterion are no parameters, and nothing reads them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from values import value

from mtcp.core.errors import UserError
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.models.encoders import build_encoder

# What differs from the library's defaults, and so belongs into `encoder.args`.
NAMES = (
    "backbone_config",
    "decoder_layers",
    "dim_feedforward",
    "encoder_feedforward_dim",
    "encoder_layers",
    "feature_size",
    "hidden_dim",
    "mask_feature_size",
    "num_queries",
)
REFERENCE = json.loads((Path(__file__).parent / "vectors/mask2former_4_46.json").read_text())


def saved(folder: Path, without: str | None = None) -> BuildContext:
    """Write the file as transformers 4.46.3 did, and say where it is."""
    tensors = {
        name: torch.zeros(shape, dtype=torch.int64)
        if name.endswith("relative_position_index")
        else torch.from_numpy(value(f"mask2former.{name}", tuple(shape)))
        for name, shape in REFERENCE["shapes"].items()
        if without is None or without not in name
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(REFERENCE["config"]))
    args = {name: REFERENCE["config"][name] for name in NAMES}
    return BuildContext(
        tasks=(make_task("depth"),),
        layout="nyud",
        size=(64, 96),
        encoder=EncoderConfig(kind="mask2former", model="saved by 4.46.3", weights=str(folder), args=args),
        channels=32,
        upsample=2,
        seeds=("reference", 0),
    )


def test_the_file_lacks_what_version_5_adds():
    assert not any("encoder.layernorm" in name or "swin.layernorm" in name for name in REFERENCE["shapes"])


def test_a_file_in_the_hubs_form_gives_the_values_it_gave_there(tmp_path):
    encoder = build_encoder(saved(tmp_path)).eval()
    with torch.no_grad():
        found = encoder(torch.from_numpy(value("input.mask2former.image", (2, 3, 64, 96))))
    expected = np.array(REFERENCE["every_59th_value"], dtype=np.float32)
    difference = np.abs(found.contiguous().numpy().ravel()[::59] - expected).max()
    assert difference <= 1e-4 * np.abs(expected).max()


def test_a_file_that_lacks_a_parameter_that_is_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"lacks 2 parameters of Mask2Former.*hidden_states_norms"):
        build_encoder(saved(tmp_path, without="hidden_states_norms.stage2"))
