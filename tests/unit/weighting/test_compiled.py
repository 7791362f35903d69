"""Schemes under `training.compile`: gradients as without it, or a refusal."""

import shutil

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig
from mtcp.weighting.base import build_scheme

ALL = sorted(plugins.find("scheme"))
GRADIENT = [name for name in ALL if plugins.load("scheme", name).cost == "gradients"]


def compiled(scheme: str):
    config = Project(plugins.PACKAGE_ROOT).resolve("rooms", "mtcp_equal", 0)
    training = config.training.model_copy(update={"compile": True})
    return config.model_copy(update={"training": training, "scheme": PluginConfig(name=scheme)})


@pytest.mark.parametrize("name", GRADIENT)
def test_several_backward_passes_are_refused(name, bench):
    with pytest.raises(UserError, match=rf"scheme '{name}' needs several backward passes .* `training: {{compile: fal"):
        build_scheme(compiled(name), bench("equal").context)


def test_loss_values_alone_are_not(bench):
    assert build_scheme(compiled("uncertainty"), bench("equal").context).name == "uncertainty"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_gradients_are_those_of_the_network_that_is_not_compiled(bench):
    network = bench("equal").network
    encode, decode = torch.compile(network.encode), torch.compile(network.decode)
    for name in ("equal", "uncertainty", "gls", "famo"):
        expected, run = bench(name).gradients(auxiliary=True), bench(name)
        network.load_state_dict(run.network.state_dict())
        run.network = network
        network.encode, network.decode = encode, decode
        found = run.gradients(auxiliary=True)
        assert found.keys() == expected.keys()
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")
