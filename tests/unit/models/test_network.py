"""Architectures: outputs, switches, equal starts, and what they refuse."""

from pathlib import Path

import pytest
import torch

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig, RunConfig, TaskConfig
from mtcp.models.architecture import build_network

ROOT = Path(__file__).resolve().parents[3]
PROJECT = Project(ROOT)


def rooms(method: str = "mtcp", **changes: object) -> RunConfig:
    return PROJECT.resolve("rooms", method, 0).model_copy(update=changes)


def with_switches(**switches: object) -> RunConfig:
    return rooms(architecture=PluginConfig(name="mtcp", **switches))


def at_size(height: int, width: int, config: RunConfig | None = None) -> RunConfig:
    config = config or rooms()
    encoder = config.encoder.model_copy(update={"model": "test_resnet", "args": {}})
    return config.model_copy(update={"height": height, "width": width, "encoder": encoder})


def test_a_task_that_is_called_like_an_attribute_of_modules_is_refused():
    tasks = {"values": TaskConfig(kind="depth")}
    with pytest.raises(
        UserError, match="task 'values' of benchmark 'rooms' cannot have this name: torch's modules have"
    ):
        build_network(rooms(tasks=tasks))


IMAGE = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("switches", "names"),
    [
        ({}, {"aux1", "aux2", "final"}),
        ({"coherence": "none"}, {"aux1", "aux2", "final"}),
        ({"auxiliary": False}, {"final"}),
        ({"trace_back": False}, {"final"}),
        ({"trace_back": False, "initial_prediction": True}, {"initial", "final"}),
        ({"initial_prediction": True}, {"initial", "aux1", "aux2", "final"}),
    ],
)
def test_switches_decide_the_outputs_and_leave_no_idle_parameter(switches, names):
    network = build_network(with_switches(**switches))
    outputs = network(IMAGE)
    channels = {"semseg": 13, "depth": 1, "normals": 3, "edge": 1}
    assert list(outputs) == list(channels)
    for task, named in outputs.items():
        assert set(named) == names
        assert all(output.shape == (2, channels[task], 48, 64) for output in named.values())
    sum(output.square().mean() for named in outputs.values() for output in named.values()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_representation_is_at_a_quarter_and_the_encoder_is_upstream_of_it():
    network = build_network(rooms())
    representation = network.encode(IMAGE)
    assert representation.shape == (2, rooms().channels, 12, 16)
    representation.sum().backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in network.named_parameters() if name.startswith("encoder.")}


@pytest.mark.slow
def test_switching_a_part_off_leaves_all_others_as_they_were():
    full = build_network(rooms()).state_dict()
    for switches in ({"coherence": "none"}, {"trace_back": False}, {"auxiliary": False}, {"initial_prediction": True}):
        for name, value in build_network(with_switches(**switches)).state_dict().items():
            if "initial_head" not in name:
                assert torch.equal(value, full[name]), name


def test_baselines_start_from_the_same_values():
    full = build_network(rooms()).state_dict()
    for name, value in build_network(rooms("mtl_baseline")).state_dict().items():
        assert torch.equal(value, full[name.replace("decoders.", "branches.")]), name
    for name, value in build_network(rooms("single_task")).state_dict().items():
        kind, task, rest = name.split(".", 2)
        own = f"encoder.{rest}" if kind == "encoders" else f"branches.{task}.{rest}"
        assert torch.equal(value, full[own]), name


@pytest.mark.slow
def test_seed_and_benchmark_change_the_start():
    first = build_network(rooms()).state_dict()
    other = build_network(rooms(seed=1)).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(first[name], value) for name, value in build_network(rooms()).state_dict().items())


def test_single_task_shares_nothing():
    network = build_network(rooms("single_task"))
    assert network.encoder is None
    network(IMAGE)["depth"]["final"].sum().backward()
    reached = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {"depth"}


@pytest.mark.parametrize("size", [(8, 8), (33, 50), (50, 33), (70, 16)])
def test_any_size_is_taken(size):
    network = build_network(at_size(*size))
    outputs = network(torch.randn(2, 3, *size))
    assert all(named["final"].shape[-2:] == size for named in outputs.values())


def test_one_task_needs_no_fusion():
    config = rooms()
    network = build_network(config.model_copy(update={"tasks": {"depth": config.tasks["depth"]}}))
    assert "cfm" not in network.branches["depth"]
    assert set(network(IMAGE)["depth"]) == {"aux1", "aux2", "final"}


def test_checkpointing_is_refused_where_nothing_would_be_recomputed():
    config = Project(Path(__file__).parents[3]).resolve("rooms", "mtl_baseline", 0)
    training = config.training.model_copy(update={"checkpointing": True})
    with pytest.raises(UserError, match=r"neither architecture 'mtl_baseline' nor encoder '.*' recomputes anything"):
        build_network(config.model_copy(update={"training": training}))


@pytest.mark.slow
def test_activation_checkpointing_changes_memory_alone():
    training = rooms().training.model_copy(update={"checkpointing": True})
    results = []
    for config in (rooms(), rooms(training=training)):
        network = build_network(config)
        torch.manual_seed(0)
        outputs = network(IMAGE)
        sum(output.square().mean() for named in outputs.values() for output in named.values()).backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append({**gradients, **dict(network.named_buffers())})
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, msg=name)


def test_bf16_autocast_follows_fp32():
    network = build_network(rooms()).eval()
    with torch.no_grad():
        exact = network(IMAGE)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(IMAGE)
    for task, named in exact.items():
        difference = (rounded[task]["final"].float() - named["final"]).abs().max()
        assert difference <= 0.1 * max(1.0, named["final"].abs().max()), task


def test_channels_last_gives_the_same():
    network = build_network(rooms()).eval()
    with torch.no_grad():
        expected = network(IMAGE)
        own = network.to(memory_format=torch.channels_last)(IMAGE.contiguous(memory_format=torch.channels_last))
    for task, named in expected.items():
        torch.testing.assert_close(own[task]["final"], named["final"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["mtcp", "mtl_baseline", "single_task"])
def test_one_tiny_image_cannot_train_batch_norm(method):
    network = build_network(at_size(16, 16, rooms(method)))
    image = torch.randn(1, 3, 16, 16)
    with pytest.raises(UserError, match=r"a single value per channel.*batch_size to 2"):
        network(image)
    network.eval()(image)


def test_unknown_switch_is_named():
    with pytest.raises(UserError, match="coherence"):
        build_network(with_switches(coherence="all"))
    with pytest.raises(UserError, match=r"tracing.*trace_back"):
        build_network(with_switches(tracing=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("nyud", 151_383_582), ("pascal", 151_139_121)])
def test_parameters_that_receive_a_gradient(name, expected):
    config = PROJECT.resolve(name, "mtcp", 0)
    encoder = config.encoder.model_copy(update={"pretrained": False})
    network = build_network(config.model_copy(update={"encoder": encoder}))
    outputs = network(torch.randn(2, 3, 64, 64))
    sum(output.square().mean() for named in outputs.values() for output in named.values()).backward()
    counted = sum(parameter.numel() for parameter in network.parameters() if parameter.grad is not None)
    assert counted == expected == sum(parameter.numel() for parameter in network.parameters())
