"""A network in double precision computes in double precision: nothing on the way is rounded to fp32."""

import pytest
import torch
from compiled import ENCODER, batch_in
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtcp.core.project import Project
from mtcp.models import attention
from mtcp.models.architecture import build_network
from mtcp.models.precision import at_least_fp32
from mtcp.store.rehearsal import made_up_training

CHANGES = {"height": 64, "width": 96, "channels": 16, "upsample": 2, "encoder": ENCODER, "validation_share": 0.0}


class Rounded(TorchDispatchMode):
    """The operations that were given tensors of double precision, and returned lower ones."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        given, got = (
            {tensor.dtype for tensor in tree_leaves(tree) if isinstance(tensor, torch.Tensor) and tensor.dim()}
            for tree in ((args, kwargs), out)
        )
        if torch.float64 in given and torch.float32 in got:
            self.found.add(str(operation))
        return out


@pytest.mark.parametrize(("dtype", "wide"), [("bfloat16", "float32"), ("float16", "float32"), ("float64", "float64")])
def test_half_precision_is_widened_and_double_stays(dtype, wide):
    assert at_least_fp32(torch.ones(2, dtype=getattr(torch, dtype))).dtype == getattr(torch, wide)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mtcp", "mtl_baseline", "single_task", "invpt_small", "pad_net", "mti_net"])
def test_a_training_step_in_double_precision_rounds_nothing(root, method, monkeypatch):
    monkeypatch.setattr(attention, "WHOLE_MAP", 100)  # both forms of the attention
    config = Project(root).resolve("rooms", method, 0).model_copy(update=CHANGES)
    network = build_network(config).double()
    batch = batch_in(torch.float64, config)
    stepper, _ = made_up_training(config, network, batch)
    with Rounded() as rounded:
        stepper.micro_step(batch, 0, boundary=True)
    assert not rounded.found
