"""Checkpoints: what is saved comes back, and nothing else is taken for it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig, RunConfig
from mtcp.models import checkpoints
from mtcp.models.architecture import build_network
from mtcp.models.checkpoints import load_network, save_network

CONFIG = Project(Path(__file__).resolve().parents[3]).resolve("rooms", "mtl_baseline", 0)


def changed(**changes: object) -> RunConfig:
    return RunConfig.model_validate({**CONFIG.model_dump(), **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    network = build_network(CONFIG)
    with torch.no_grad():
        for value in network.state_dict().values():
            value += 1
    save_network(network, CONFIG, path)
    return path, network


@pytest.mark.slow
def test_round_trip(saved):
    path, network = saved
    loaded = load_network(CONFIG, path)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_values_that_share_memory_are_kept(tmp_path, monkeypatch):
    def tied(*_, **__):
        network = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
        network[1].weight = network[0].weight
        network.register_buffer("part", network[0].bias.detach()[:1])
        return network

    monkeypatch.setattr(checkpoints, "build_network", tied)
    network = tied()
    save_network(network, CONFIG, tmp_path / "model.safetensors")
    loaded = load_network(CONFIG, tmp_path / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert loaded[1].weight is loaded[0].weight


def test_loading_fetches_no_initial_weights(saved):
    path, _ = saved
    encoder = CONFIG.encoder.model_copy(update={"pretrained": True, "weights": "gone.safetensors"})
    load_network(changed(encoder=encoder), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks": {"depth": CONFIG.tasks["depth"]}},
            r"for tasks semseg=13, depth=1, normals=3, edge=1, but .* depth=1",
        ),
        ({"height": 96}, r"for size 48x64, but .* 96x64"),
        ({"architecture": PluginConfig(name="mtcp")}, r"for architecture name=mtl_baseline, but .* name=mtcp"),
        ({"channels": 16}, r"for channels \d+, but .* 16"),
        ({"upsample": 4}, r"for up-sampling 2, but .* 4"),
        (
            {"encoder": CONFIG.encoder.model_copy(update={"args": {"out_indices": [0, 1, 2, 3]}})},
            r"for encoder arguments .*, but .*out_indices=\[0, 1, 2, 3\]",
        ),
    ],
)
def test_other_purposes_are_refused(saved, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        load_network(changed(**changes), saved[0])
    assert "\n" not in str(caught.value)


def test_other_number_of_classes_is_refused(saved):
    tasks = {**CONFIG.tasks, "semseg": CONFIG.tasks["semseg"].model_copy(update={"classes": 40})}
    with pytest.raises(UserError, match=r"semseg=13.*semseg=40"):
        load_network(changed(tasks=tasks), saved[0])


def test_other_format_version_is_refused(saved, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 3)
    with pytest.raises(UserError, match=r"saved by another version of mtcp \(format 2, and 3 here\): train"):
        load_network(CONFIG, saved[0])


def test_a_file_without_a_tensor_is_refused(saved, tmp_path):
    with safe_open(saved[0], framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in list(file.keys())[1:]}
    save_file(tensors, tmp_path / "model.safetensors", metadata=header)
    with pytest.raises(UserError, match=r"does not fit the network of 'mtl_baseline' on 'rooms'"):
        load_network(CONFIG, tmp_path / "model.safetensors")


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "pickle", "foreign", "header"])
def test_damaged_files_are_refused(saved, tmp_path, damage):
    path = tmp_path / "model.safetensors"
    content = saved[0].read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "pickle":
            torch.save({"a": torch.zeros(1)}, path)
        case "foreign":
            save_file({"a": torch.zeros(1)}, path)
        case "header":
            save_file(load_file(saved[0]), path, metadata={"mtcp": "{"})
    with pytest.raises(UserError, match=r"missing|not a complete safetensors file|another program") as caught:
        load_network(CONFIG, path)
    assert str(path) in str(caught.value)


def test_an_interrupted_save_leaves_the_old_file(saved, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(UserError, match="No space left"):
        save_network(saved[1], CONFIG, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_header_says_what_it_was_trained_for(saved):
    with safe_open(saved[0], framework="pt") as file:
        header = json.loads(file.metadata()["mtcp"])
    assert header["tasks"] == {"semseg": 13, "depth": 1, "normals": 3, "edge": 1}
    assert header["size"] == [48, 64]
