"""Schemes that combine gradients run on every architecture: equal coefficients give the gradient of the plain sum."""

import pytest
import torch
from little_architectures import LITTLE, build, context

from mtcp.core.errors import UserError
from mtcp.weighting.base import SchemeContext
from mtcp.weighting.gradients import GramianScheme

pytestmark = pytest.mark.slow

SIZE = (64, 64)


class PlainSum(GramianScheme):
    name = "plain_sum"

    def weights(self, gramian, losses, present):
        return torch.ones(len(gramian), dtype=gramian.dtype)


def built(name):
    # Running statistics, so that both passes see the same network.
    return build(name, context(size=SIZE), **LITTLE[name]).eval()


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


@pytest.mark.parametrize("name", [name for name in LITTLE if name != "single_task_light"])
@pytest.mark.parametrize("shared_parameters", ["encoder", "representation", "all_shared"])
def test_equal_coefficients_give_the_plain_gradient(name, shared_parameters):
    network = built(name)
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
        scheme(built("single_task_light"), "encoder")


def test_a_representation_that_is_no_list_of_tensors_is_refused():
    network = built("mtl_baseline_light")
    final, auxiliary, representation = losses_of(network, torch.randn(2, 3, 64, 64))
    with pytest.raises(UserError, match=r"a tensor or a list of tensors.*got dict.*choose `encoder`"):
        scheme(network, "representation").backward(final, auxiliary, {"maps": representation}, 1.0)
