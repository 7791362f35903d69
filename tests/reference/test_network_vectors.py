"""The network agrees with the reference vectors, part by part and from pixel embedding to every output.

`vectors/network.npz` holds the reference outputs (arrays of more than 20,000 values: every seventh value);
`vectors/parameters.json` names and shapes of the reference parameters, per group.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from values import value

from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.models.cbam import CBAM
from mtcp.models.coherence import CFM
from mtcp.models.decoder import FPN, HFP
from mtcp.models.layers import to_nchw, to_nhwc
from mtcp.models.mask2former import shared_representation
from mtcp.models.network import MTCP
from mtcp.models.refinement import SRM, TraceBack

HERE = Path(__file__).parent

#: Nothing reads the last module's feature branch: the network leaves it out.
UNUSED = ("srm3.feature_conv.", "srm3.feature_norm.")


@pytest.fixture(scope="module")
def vectors():
    return np.load(HERE / "vectors/network.npz")


@pytest.fixture(scope="module")
def parameters():
    return json.loads((HERE / "vectors/parameters.json").read_text())


def own_name(canonical: str, group: str) -> str:
    name = canonical.removeprefix(f"{group}.")
    for index, letter in enumerate("abcd"):
        name = name.replace(f"gate_{letter}.", f"gates.{index}.")
    return f"branches.{name}" if group in ("nyud", "pascal") else name


def load_reference(module: nn.Module, group: str, parameters: dict) -> None:
    """Fill `module` with the reference parameters; every one of them and every one of ours must have a partner."""
    own = module.state_dict()
    expected = {name for name in own if not name.endswith("num_batches_tracked") and not name.startswith("encoder.")}
    filled = set()
    for canonical, shape in parameters[group].items():
        if any(part in canonical for part in UNUSED):
            continue
        name = own_name(canonical, group)
        own[name].copy_(torch.from_numpy(value(canonical, tuple(shape))).view_as(own[name]))
        filled.add(name)
    assert filled == expected


def input_map(name: str, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return to_nhwc(torch.from_numpy(scale * value(f"input.{name}", shape))).contiguous()


def assert_agrees(vectors, key: str, result: torch.Tensor) -> None:
    """max |difference| <= 1e-4 * max(1, max |reference|); `result` is (B, C, H, W)."""
    reference = vectors[key]
    flat = result.detach().contiguous().numpy().ravel()
    if flat.size > 20000:
        flat = flat[::7]
    assert flat.shape == reference.shape
    assert np.abs(flat - reference).max() <= 1e-4 * max(1.0, np.abs(reference).max()), key


def run_cfm(module):
    auxiliary = input_map("cfm.auxiliary", 2, 512, 9, 11, scale=0.5)
    return {"out": module(input_map("cfm.main", 2, 256, 9, 11, scale=0.5), list(auxiliary.split(256, -1)))}


def traceback_maps():
    return [
        input_map("traceback.feature4", 2, 256, 12, 16),
        input_map("traceback.feature8", 2, 512, 6, 8),
        input_map("traceback.feature16", 2, 1024, 3, 4),
    ]


def numbered(results):
    return {f"out{index}": result for index, result in enumerate(results)}


PARTS = {
    "cbam": (lambda: CBAM(256), lambda m: {"out": m(input_map("cbam", 2, 256, 9, 11))}),
    "cfm": (lambda: CFM(256, 2), run_cfm),
    "srm": (
        lambda: SRM(256, 1024, 256),
        lambda m: dict(
            zip(
                ("pred", "feature"),
                m(input_map("srm.pred", 2, 256, 12, 16), input_map("srm.feature", 2, 1024, 3, 4)),
                strict=True,
            )
        ),
    ),
    "traceback": (
        lambda: TraceBack(256),
        lambda m: numbered(m(input_map("traceback.pred", 2, 256, 12, 16), traceback_maps())),
    ),
    "fpn": (lambda: FPN([256, 512, 1024], 256), lambda m: {"out": m(traceback_maps())}),
    "hfp": (lambda: HFP(256), lambda m: numbered(m(input_map("hfp", 1, 256, 15, 20)))),
}


@pytest.mark.parametrize("group", PARTS)
def test_part_agrees(group, vectors, parameters):
    build, run = PARTS[group]
    module = build()
    load_reference(module, group, parameters)
    for mode in ("eval", "train"):
        with torch.no_grad():
            results = run(module.train(mode == "train"))
        expected = {key for key in vectors if key.startswith(f"{group}/{mode}.")}
        assert expected == {f"{group}/{mode}.{name}" for name in results}
        for name, result in results.items():
            assert_agrees(vectors, f"{group}/{mode}.{name}", to_nchw(result))


BENCHMARKS = {
    "nyud": ((make_task("semseg", classes=40), make_task("depth"), make_task("normals")), 2),
    "pascal": ((make_task("semseg", classes=21), make_task("human_parts"), make_task("sal")), 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("group", BENCHMARKS)
def test_network_agrees(group, vectors, parameters):
    tasks, upsample = BENCHMARKS[group]
    context = BuildContext(
        tasks=tasks,
        layout=group,
        size=(32, 48),
        encoder=EncoderConfig(kind="timm", model="test_resnet"),
        channels=256,
        upsample=upsample,
        seeds=("reference", 0),
    )
    network = MTCP(context, MTCP.Parameters())
    load_reference(network, group, parameters)
    pixels = torch.from_numpy(value(f"input.{group}.pixel_embedding", (2, 256, 8, 12)))
    logits = 0.1 * torch.from_numpy(value(f"input.{group}.mask_logits", (2, 100, 8, 12)))
    shared = shared_representation(pixels, logits.sum(1, keepdim=True))
    assert_agrees(vectors, f"{group}/shared", shared)
    for mode in ("eval", "train"):
        with torch.no_grad():
            outputs = network.train(mode == "train").decode(shared, (32, 48))
        flat = {f"{group}/{mode}.{t}.{name}": out for t, named in outputs.items() for name, out in named.items()}
        assert set(flat) == {key for key in vectors if key.startswith(f"{group}/{mode}.")}
        for key, result in flat.items():
            assert_agrees(vectors, key, result)
