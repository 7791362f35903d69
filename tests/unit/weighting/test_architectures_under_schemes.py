"""Schemes that combine gradients run on every architecture: equal coefficients give the gradient of the plain sum."""

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.config import EncoderConfig
from mtcp.core.errors import UserError
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.weighting.base import SchemeContext
from mtcp.weighting.gradients import GramianScheme

SHARING = {
    "mtl_baseline_light": {},
    "cross_stitch": {},
    "nddr": {},
    "mtan": {},
    "pad_net": {"width": 16},
    "mti_net": {},
    "atrc": {},
    "invpt": {"embedding": 16, "extra": 8},
    "mtmamba": {"states": 2, "expansion": 1},
}
TASKS = (make_task("semseg", classes=5), make_task("depth"), make_task("normals"))


class PlainSum(GramianScheme):
    name = "plain_sum"

    def weights(self, gramian, losses, present):
        return torch.ones(len(gramian), dtype=gramian.dtype)


def build(name, **parameters):
    context = BuildContext(
        tasks=TASKS, layout="nyud", size=(64, 64), channels=16, upsample=2, seeds=("test", 0),
        encoder=EncoderConfig(kind="timm", model="resnet18", args={"channels": [8, 8, 16, 16]}),
    )  # fmt: skip
    network = plugins.load("architecture", name)(context, plugins.parameters("architecture", name, parameters))
    # Running statistics, so that both passes see the same network.
    return network.eval()


def scheme(network, shared_parameters):
    context = SchemeContext(
        tasks=("semseg", "depth", "normals"), seed=0, epochs=1, steps_per_epoch=1, size=(64, 64), network=network
    )
    return PlainSum(context, PlainSum.Parameters(shared_parameters=shared_parameters))


def losses_of(network, image):
    representation = network.encode(image)
    outputs = network.decode(representation, (64, 64))
    final = {task: named["final"].square().mean() for task, named in outputs.items()}
    others = [x.square().mean() for named in outputs.values() for name, x in named.items() if name != "final"]
    return final, sum(others) if others else None, representation


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("shared_parameters", ["encoder", "representation", "all_shared"])
def test_equal_coefficients_give_the_plain_gradient(name, shared_parameters):
    network = build(name, **SHARING[name])
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    final, auxiliary, _ = losses_of(network, image)
    (sum(final.values()) + (auxiliary if auxiliary is not None else 0)).backward()
    expected = {key: parameter.grad for key, parameter in network.named_parameters()}
    network.zero_grad()
    combining = scheme(network, shared_parameters)
    combining.backward(*losses_of(network, image), 1.0)
    for key, parameter in network.named_parameters():
        if expected[key] is None:
            assert parameter.grad is None or not parameter.grad.any(), key
        else:
            bound = 1e-3 * expected[key].abs().max() + 1e-7
            assert (parameter.grad - expected[key]).abs().max() <= bound, key


def test_an_architecture_that_shares_nothing_is_refused_by_name():
    with pytest.raises(UserError, match=r"'plain_sum'.*'encoder' has none in this architecture"):
        scheme(build("single_task_light"), "encoder")


def test_a_representation_that_is_no_list_of_tensors_is_refused():
    network = build("mtl_baseline_light")
    final, auxiliary, representation = losses_of(network, torch.randn(2, 3, 64, 64))
    with pytest.raises(UserError, match=r"a tensor or a list of tensors.*got dict.*choose `encoder`"):
        scheme(network, "representation").backward(final, auxiliary, {"maps": representation}, 1.0)
