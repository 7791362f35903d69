"""The whole network has the outputs and the gradients of its definition by the usual means, in training mode.

Both are also held against float64, where the plain form shows what float32 can do.
"""

import copy
from collections import defaultdict

import pytest
import torch
from plain import PlainMTCP
from torch import nn

from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models import attention
from mtcp.models.architecture import BuildContext
from mtcp.models.network import MTCP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forms(small_mask2former):
    torch.manual_seed(0)
    encoder = small_mask2former | {"backbone_config": small_mask2former["backbone_config"] | {"drop_path_rate": 0.0}}
    context = BuildContext(
        tasks=(make_task("semseg", classes=5), make_task("depth"), make_task("normals")),
        layout="nyud",
        size=(72, 104),
        encoder=EncoderConfig(kind="mask2former", model="random", args=encoder),
        channels=32,
        upsample=2,
        seeds=("test", 0),
    )
    network = MTCP(context, MTCP.Parameters()).train()
    return network, PlainMTCP(off_centres(network)).train()


def off_centres(network):
    """Move the pixel decoder's points off the pixel centres, where reading between pixels has no derivative."""
    for name, bias in network.named_parameters():
        if name.endswith("sampling_offsets.bias"):
            nn.init.uniform_(bias, 0.2, 0.8)
    return network


def outputs_and_gradients(form):
    form.zero_grad()
    dtype = next(form.parameters()).dtype
    image = torch.randn(2, 3, 72, 104, generator=torch.Generator().manual_seed(1)).to(dtype)
    outputs = {(task, name): logits for task, named in form(image).items() for name, logits in named.items()}
    generator = torch.Generator().manual_seed(2)
    sum((logits * torch.randn(logits.shape, generator=generator)).sum() for logits in outputs.values()).backward()
    outputs = {name: logits.detach() for name, logits in outputs.items()}
    named = {name.replace("encoder.model.", "encoder."): value.grad for name, value in form.named_parameters()}
    return outputs, {name: gradient for name, gradient in named.items() if gradient is not None}


def by_part(gradients):
    """One vector for each part of a branch, and one for the encoder; a bias before a norm has rounding errors alone."""
    parts = defaultdict(list)
    for name, gradient in sorted(gradients.items()):
        parts["encoder" if name.startswith("encoder") else ".".join(name.split(".")[1:3])].append(gradient.flatten())
    return {part: torch.cat(found) for part, found in parts.items()}


@pytest.mark.parametrize("whole_map", [0, 1024])
def test_outputs_and_gradients(forms, whole_map, monkeypatch):
    monkeypatch.setattr(attention, "WHOLE_MAP", whole_map)
    monkeypatch.setattr(attention, "BLOCK_CPU", 1)
    (own, own_gradients), (plain, plain_gradients) = (outputs_and_gradients(form) for form in forms)
    assert own.keys() == plain.keys() and len(own) == 9
    assert own_gradients.keys() == plain_gradients.keys() and len(own_gradients) > 500
    for found, expected in ((own, plain), (by_part(own_gradients), by_part(plain_gradients))):
        for name, value in expected.items():
            assert (found[name] - value).norm() <= 2e-4 * value.norm(), name


def test_no_further_from_float64_than_the_plain_form(forms):
    """Where rounding turns a value of ReLU or a maximum over, a gradient moves by up to 1e-3 of its norm."""
    exact = joined(*outputs_and_gradients(copy.deepcopy(forms[0]).double()))
    own, plain = (
        {name: (value - exact[name]).norm() / exact[name].norm() for name, value in found.items()}
        for found in (joined(*outputs_and_gradients(form)) for form in forms)
    )
    assert own["outputs"] <= min(2 * plain["outputs"], 2e-5)
    for name, error in own.items():
        assert error <= max(2 * plain[name], 2e-3), name


def joined(outputs, gradients):
    return by_part(gradients) | {"outputs": torch.cat([outputs[name].flatten() for name in sorted(outputs)])}
