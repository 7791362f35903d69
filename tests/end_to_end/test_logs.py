"""What the log of a run says: where it trains, its epochs, and nothing that a library has to say."""

import logging
import re

import pytest
import timm
from safetensors.torch import save_file

pytestmark = pytest.mark.slow

MODEL = "mobilenetv3_small_050"
FIRST = (
    "rooms/mtl_baseline/seed0: training on the CPU: "
    "the benchmark asks for a GPU (`resources.gpu: 1`), and none is available"
)
EPOCH = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*  epoch   0  semseg \d")


def test_a_log_has_our_lines_alone(project, monkeypatch, caplog) -> None:
    weights = timm.create_model(MODEL).state_dict()
    save_file(weights, project.path / "whole.safetensors")
    with caplog.at_level(logging.WARNING, logger="timm"):
        timm.create_model(MODEL, features_only=True, pretrained=True, pretrained_cfg_overlay={"state_dict": weights})
    assert "Unexpected keys (conv_head.weight" in caplog.text  # what it says of a classifier's weights

    encoder = {"kind": "timm", "model": MODEL, "weights": "whole.safetensors"}
    project.edit("params.yaml", methods=["mtl_baseline"], seeds=[0])
    project.edit(
        "config/benchmarks/rooms.yaml", encoder=encoder, training__epochs=1, resources={"gpu": 1}, validation_share=0.0
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = project.mtcp("train", "rooms", "mtl_baseline", "--seed", "0")
    assert done.returncode == 0, done.stderr
    first, epoch = done.stderr.splitlines()
    assert first == FIRST
    assert EPOCH.match(epoch)
