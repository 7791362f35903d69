"""A scheme of one's own: what is refused, and with which sentence."""

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig
from mtcp.weighting.base import Diverged, build_scheme, own_faults_named
from mtcp.weighting.probe import probe_scheme

pytestmark = pytest.mark.slow

LOSS = """\
from pydantic import Field
import torch
from mtcp.core.plugins import PluginParameters, scheme
from mtcp.weighting.base import LossScheme

@scheme("{name}")
class Mine(LossScheme):
    '''Mine.'''
    class Parameters(PluginParameters):
        power: float = Field(1.0, gt=0, le=2, description="a power")
    def total(self, losses, present):
        return {result}
"""
GRAMIAN = """\
import torch
from mtcp.core.plugins import scheme
from mtcp.weighting.gradients import GramianScheme

@scheme("{name}")
class Mine(GramianScheme):
    '''Mine.'''
    def weights(self, gramian, losses, present):
        return {result}
"""
JACOBIAN = GRAMIAN.replace("GramianScheme", "JacobianScheme").replace(
    "weights(self, gramian,", "combine(self, jacobian,"
)


@pytest.fixture
def own(tmp_path, bench):
    """Return a function that writes plugins/<file>.py and builds the scheme of that name on the toy network."""
    (tmp_path / "plugins").mkdir()
    config = Project(plugins.PACKAGE_ROOT).resolve("rooms", "mtcp_equal", 0)

    def build(text, name="mine", result="losses.sum()", **given):
        (tmp_path / "plugins" / f"{name}.py").write_text(text.format(name=name, result=result))
        run = bench("equal")
        chosen = config.model_copy(update={"scheme": PluginConfig(name=name, **given)})
        run.scheme = build_scheme(chosen, run.context, tmp_path)
        return run

    build.root = tmp_path
    return build


@pytest.mark.parametrize("text", [LOSS, GRAMIAN, JACOBIAN])
def test_a_good_one_trains(own, text):
    result = {LOSS: "(losses ** self.options.power).sum()", GRAMIAN: "gramian.diagonal()", JACOBIAN: "jacobian.sum(0)"}
    run = own(text, result=result[text])
    run.step(0)
    run.scheme.close_epoch()
    assert "weight_depth" in run.scheme.record()


@pytest.mark.parametrize(
    ("text", "result", "sentence"),
    [
        (LOSS, "losses", r"scheme 'mine', step 1: `total` must return a scalar tensor, got shape \(3,\)"),
        (LOSS, "3.0", "scheme 'mine', step 1: `total` must return a scalar tensor, got float"),
        (LOSS, "torch.tensor(1.0)", "scheme 'mine', step 1: `total` returned a value that does not depend"),
        (GRAMIAN, "gramian", r"scheme 'mine', step 1: `weights` must return a tensor of shape \(3,\), got .*\(3, 3\)"),
        (GRAMIAN, "[1, 1, 1]", r"scheme 'mine', step 1: `weights` must return a tensor of shape \(3,\), got list"),
        (JACOBIAN, "jacobian", r"scheme 'mine', step 1: `combine` must return a tensor of shape \(\d+,\), got shape"),
    ],
)
def test_wrong_shapes(own, text, result, sentence):
    run = own(text, result=result)
    run.scheme.steps = 1
    with pytest.raises(UserError, match=sentence):
        run.step(1)


@pytest.mark.parametrize(
    ("text", "result", "sentence"),
    [
        (LOSS, "(losses * torch.tensor([1.0, float('nan'), 1.0])).sum()", "task 'depth', step 0: the weight is nan"),
        (LOSS, "(losses - losses.detach()).sqrt().sum()", "task 'semseg', step 0: the weight is"),
        (GRAMIAN, "torch.tensor([1.0, 1.0, float('inf')])", "task 'normals', step 0: the coefficient is inf"),
        (JACOBIAN, "jacobian.sum(0) / 0", "step 0: the combined gradient is not finite"),
    ],
)
def test_nan_ends_the_run_and_leaves_the_network_as_it_was(own, text, result, sentence):
    run = own(text, result=result)
    before = [parameter.clone() for parameter in run.network.parameters()]
    with pytest.raises(Diverged, match=f"scheme 'mine', {sentence}"):
        run.step(0)
    assert all(torch.equal(one, other) for one, other in zip(before, run.network.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in run.network.parameters())


def test_parameters_out_of_bounds(own):
    with pytest.raises(UserError, match=r"scheme 'mine', key 'power': .*less than or equal to 2, got 3"):
        own(LOSS, power=3)
    with pytest.raises(UserError, match=r"scheme 'mine', key 'pover': .*known: power"):
        own(LOSS, pover=1)


def test_a_file_that_does_not_import(own):
    with pytest.raises(UserError, match=r"plug-in .*mine\.py does not import: ModuleNotFoundError: .*nowhere"):
        own("import nowhere\n" + LOSS)


def test_a_file_that_is_no_python(own):
    with pytest.raises(UserError, match=r"plug-in .*mine\.py cannot be read as Python"):
        own("def\n")


def test_a_file_that_defines_nothing(own):
    with pytest.raises(UserError, match=r"plug-in .*mine\.py defines nothing: put @scheme"):
        own("weights = 1\n")


def test_a_helper_may_define_nothing(own):
    (own.root / "plugins" / "_helper.py").write_text("weights = 1\n")
    own(LOSS)


def test_a_name_that_exists(own):
    with pytest.raises(UserError, match=r"scheme 'pcgrad' is defined twice, in .*pcgrad\.py and .*pcgrad\.py"):
        own(LOSS, name="pcgrad")


def test_a_name_that_is_none(own):
    with pytest.raises(UserError, match="'My Scheme' is not a name: use"):
        own(LOSS.replace("{name}", "My Scheme"))


def test_a_class_that_lacks_what_it_must_define(own):
    with pytest.raises(UserError, match=r"scheme 'mine' in .*mine\.py lacks the method `total`: define it"):
        own(LOSS.replace("def total", "def totale"))


def test_a_constructor_that_fails_names_file_and_line(own):
    text = LOSS + "    def __init__(self, context, parameters):\n        self.half = context.size / 2\n"
    with pytest.raises(UserError, match=r"scheme 'mine': TypeError in .*mine\.py, line 14: unsupported operand"):
        own(text)


def test_an_exit_in_a_scheme_is_a_fault_with_file_and_line(own):
    run = own(LOSS, result="__import__('sys').exit(0)")
    expected = r"scheme 'mine', step 0: SystemExit in .*mine\.py, line 12: 0"
    with pytest.raises(UserError, match=expected), own_faults_named(run.scheme.at()):
        run.step(0)


def test_a_fault_outside_of_plugins_stays_a_crash(bench):
    with pytest.raises(ZeroDivisionError), own_faults_named("scheme 'equal'"):
        bench("equal").scheme.monitor.first = 1 / 0


def test_a_helper_may_be_imported(own):
    (own.root / "plugins" / "_halves.py").write_text("def half(x):\n    return x / 2\n")
    run = own("from _halves import half\n" + LOSS, result="half(losses.sum())")
    run.step(0)
    run.scheme.close_epoch()
    assert run.scheme.record()["weight_depth"] == 0.5


@pytest.mark.parametrize("text", ["def\n", "weights = 1\n", LOSS.format(name="gls", result="losses.sum()")])
def test_a_fault_in_one_file_hinders_no_other_scheme_and_is_named_by_the_plan(own, text):
    own(LOSS)
    (own.root / "plugins" / "other.py").write_text(text)
    assert plugins.path_of("scheme", "mine", own.root).name == "mine.py"
    assert plugins.path_of("scheme", "pcgrad", own.root).name == "pcgrad.py"
    with pytest.raises(UserError, match=r"other\.py"):
        plugins.find("scheme", own.root)
    with pytest.raises(UserError, match=r"other\.py"):
        plugins.path_of("scheme", "gls" if "gls" in text else "not_there", own.root)


def test_a_class_that_is_no_scheme(own):
    text = "from mtcp.core.plugins import scheme\n@scheme('mine')\nclass Mine:\n    total = sum\n"
    with pytest.raises(UserError, match=r"scheme 'mine' in .*mine\.py must derive from LossScheme"):
        own(text)


def test_an_unknown_scheme_suggests_the_nearest(own):
    with pytest.raises(UserError, match="unknown scheme 'pcgard'; did you mean 'pcgrad'"):
        plugins.load("scheme", "pcgard")


def test_planning_reads_names_without_importing(own, tmp_path):
    (tmp_path / "plugins" / "loud.py").write_text("raise RuntimeError\n" + LOSS.format(name="loud", result="0"))
    assert plugins.find("scheme", tmp_path)["loud"].name == "loud.py"


# -- traps ------------------------------------------------------------------------------------------------------------

HOOK = """\
import torch
from mtcp.api import LossScheme, scheme

@scheme("{name}")
class Mine(LossScheme):
    '''Mine.'''
    def __init__(self, context, parameters):
        {super}
        {state}
    def total(self, losses, present):
        return (self.w * losses).sum()
    def end_epoch(self):
        self.w = self.w * 2
"""
SUPER = "super().__init__(context, parameters)"


def hooked(super_=SUPER, state="self.register_buffer('w', torch.ones(()))"):
    return HOOK.replace("{super}", super_).replace("{state}", state)


def test_an_override_of_end_epoch_need_not_call_its_parent(own):
    run = own(hooked())
    for wanted in (1.0, 2.0):
        run.step(0)
        run.scheme.close_epoch()
        assert run.scheme.record()["weight_depth"] == wanted
    assert run.scheme.epochs == 2


@pytest.mark.parametrize("call", ["pass", "torch.nn.Module.__init__(self)"])
def test_a_constructor_that_forgets_its_parent_is_named(own, call):
    with pytest.raises(UserError, match=r"scheme 'mine'.*mine\.py"):
        own(hooked(call))


def probe(own, text, name="mine"):
    own(text, name)
    config = Project(plugins.PACKAGE_ROOT).resolve("rooms", "mtcp_equal", 0)
    probe_scheme(config.model_copy(update={"scheme": PluginConfig(name=name)}), own.root)


def test_state_in_a_plain_attribute_is_found_before_training(own):
    probe(own, hooked())
    with pytest.raises(UserError, match=r"scheme 'plain': it continues differently after a restart.*register_buffer"):
        probe(own, hooked(state="self.w = 1.0"), "plain")


def test_an_interface_that_is_broken_is_found_before_training(own):
    with pytest.raises(UserError, match="scheme 'mine', step 0: `total` must return a scalar"):
        probe(own, LOSS.format(name="mine", result="losses"))


@pytest.mark.parametrize("name", sorted(set(plugins.find("scheme")) - {"fixed"}))
def test_every_scheme_of_ours_passes_the_probe(name):
    config = Project(plugins.PACKAGE_ROOT).resolve("rooms", "mtcp_equal", 0)
    probe_scheme(config.model_copy(update={"scheme": PluginConfig(name=name)}))


@pytest.mark.parametrize("kind", [dict, tuple])
def test_a_representation_that_is_neither_tensor_nor_list_is_one_sentence(bench, kind):
    run = bench("mgda", shared_parameters="representation")
    losses, representation = run.losses(0)
    given = {"r": representation} if kind is dict else (representation,)
    with pytest.raises(UserError, match=rf"must return a tensor or a list of tensors .*, got {kind.__name__}"):
        run.scheme.backward(losses, None, given, 1.0)
