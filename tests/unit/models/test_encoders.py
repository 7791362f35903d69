"""Encoders: the library's numbers, and one clear sentence for everything that cannot work."""

import hashlib
import json
import os
import subprocess
import sys

import huggingface_hub
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from mtcp.core.errors import UserError
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.models.encoders import build_encoder
from mtcp.models.weights import weights_record


def context(size=(64, 96), channels=32, **encoder) -> BuildContext:
    return BuildContext(
        tasks=(make_task("depth"),),
        layout="nyud",
        size=size,
        encoder=EncoderConfig(**encoder),
        channels=channels,
        upsample=2,
        seeds=("test", 0),
    )


@pytest.fixture
def library_model(small_mask2former):
    torch.manual_seed(0)
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(**small_mask2former)).eval()


def test_mask2former_gives_the_product_that_the_library_would(library_model, small_mask2former, tmp_path):
    library_model.save_pretrained(tmp_path)
    settings = {"model": "local", "args": small_mask2former}
    encoder = build_encoder(context(kind="mask2former", weights=str(tmp_path), **settings)).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        reference = library_model(image)
        logits = library_model.model(image).masks_queries_logits[-1]
        expected = reference.pixel_decoder_last_hidden_state * logits.sum(1, keepdim=True)
        torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-4)


def test_weights_of_another_mask2former_than_described_are_refused_before_training(library_model, tmp_path):
    """A trained network is built again from `encoder.args` alone."""
    library_model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"encoder.args: .* is another Mask2Former than they describe \(.* differs\)"):
        build_encoder(context(kind="mask2former", model="local", weights=str(tmp_path)))


@pytest.mark.slow
def test_mask2former_trains_under_compile_as_without_it(small_mask2former):
    # What a CPU recomputes is not compiled; drop path must fall on the same layers in both passes.
    encoder = build_encoder(context(kind="mask2former", model="x", args=small_mask2former)).train()
    image = torch.randn(2, 3, 64, 96)
    gradients = []
    for form in (encoder, torch.compile(encoder, backend="aot_eager")):
        torch.manual_seed(3)
        encoder.zero_grad()
        form(image).square().mean().backward()
        gradients.append({name: value.grad for name, value in encoder.named_parameters() if value.grad is not None})
    expected, found = gradients
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_mask2former_without_weights_is_random_and_seeded(small_mask2former):
    first, second = (build_encoder(context(kind="mask2former", model="x", args=small_mask2former)) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_mask2former_width_must_be_the_networks(small_mask2former):
    with pytest.raises(UserError, match="set channels to 32"):
        build_encoder(context(kind="mask2former", model="x", args=small_mask2former, channels=64))


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_timm_backbones_of_every_kind_give_r_at_a_quarter(model):
    size = (160, 160) if model == "test_vit" else (50, 70)
    encoder = build_encoder(context(size=size, kind="timm", model=model))
    assert encoder(torch.randn(2, 3, *size)).shape == (2, 32, -(-size[0] // 4), -(-size[1] // 4))


def test_unknown_timm_model_is_named_with_its_neighbours():
    with pytest.raises(UserError, match=r"no model 'resnet51'.*resnet50"):
        build_encoder(context(kind="timm", model="resnet51"))
    with pytest.raises(UserError, match=r"no model 'qqqqqq'"):
        build_encoder(context(kind="timm", model="qqqqqq"))


@pytest.mark.parametrize(
    ("model", "said"), [("timm/resnet18.a1_in1k", "looks like a Hugging Face Hub repo"), ("xx:yy", "source 'xx'")]
)
def test_a_model_name_that_timm_cannot_read_is_one_sentence(model, said):
    with pytest.raises(UserError, match=f"encoder.model: .*{said}"):
        build_encoder(context(kind="timm", model=model))


def test_unknown_timm_argument_is_refused():
    with pytest.raises(UserError, match=r"cannot build 'test_resnet'.*colour"):
        build_encoder(context(kind="timm", model="test_resnet", args={"colour": 1}))


def test_size_that_the_backbone_cannot_take_is_refused_before_training():
    with pytest.raises(UserError, match=r"takes no images of 64x96 pixels.*img_size"):
        build_encoder(context(kind="timm", model="swin_tiny_patch4_window7_224"))


@pytest.mark.parametrize("kind", ["timm", "mask2former"])
def test_no_hub_access_is_one_sentence(kind, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", refuse)
    model = "resnet18.a1_in1k" if kind == "timm" else "facebook/mask2former-swin-small-ade-semantic"
    with pytest.raises(UserError, match=r"cannot be fetched from the hub.*no route to host.*encoder.weights"):
        build_encoder(context(kind=kind, model=model, pretrained=True))


def test_weights_are_recorded_so_that_others_can_pin_them(tmp_path, monkeypatch):
    path = tmp_path / "snapshots" / "abc123" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    found = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args, **kwargs: str(path))
    hub = EncoderConfig(kind="mask2former", model="some/model", pretrained=True)
    assert weights_record(hub) == {"sha256": found, "revision": "abc123"}
    local = EncoderConfig(kind="mask2former", model="x", weights=str(path.parent))
    assert weights_record(local) == {"sha256": found}
    assert weights_record(EncoderConfig(kind="timm", model="x", weights=str(path))) == {"sha256": found}
    assert weights_record(EncoderConfig(kind="timm", model="x", pretrained=True)) is None
    assert weights_record(EncoderConfig(kind="timm", model=f"local-dir:{tmp_path}", pretrained=True)) is None
    assert weights_record(EncoderConfig(kind="mask2former", model="x")) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "timm", "pretrained": True, "revision": "main"}, "hf_hub:NAME@REVISION"),
        ({"kind": "mask2former", "revision": "main"}, "take it out"),
        ({"kind": "mask2former", "weights": "folder", "revision": "main"}, "take it out"),
        ({"kind": "timm", "pretrained": True, "sha256": "0" * 64}, "name it in `weights`"),
        ({"kind": "mask2former", "sha256": "0" * 64}, "name it in `weights`"),
    ],
)
def test_a_pin_that_would_pin_nothing_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        EncoderConfig(model="x", **settings)


def weights_of(kind, folder, library_model, small_mask2former):
    """Save right weights; returns (the file, what encoder.weights says, further settings)."""
    if kind == "mask2former":
        library_model.save_pretrained(folder)
        return folder / "model.safetensors", folder, {"model": "local", "args": small_mask2former}
    import timm

    path = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in timm.create_model("test_resnet").state_dict().items()}, path)
    return path, path, {"model": "test_resnet"}


@pytest.mark.parametrize("kind", ["timm", "mask2former"])
def test_local_weights_are_loaded(kind, tmp_path, library_model, small_mask2former):
    path, weights, settings = weights_of(kind, tmp_path, library_model, small_mask2former)
    encoder = build_encoder(context(kind=kind, weights=str(weights), **settings))
    own = {value.data_ptr(): value for value in encoder.state_dict().values()}
    stored = [value for value in load_file(path).values() if value.dim() == 4]
    assert sum(any(torch.equal(value, o) for o in own.values() if o.shape == value.shape) for value in stored) >= 5


@pytest.mark.parametrize("kind", ["timm", "mask2former"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "missing"),
        ("truncated", "not a complete file of weights"),
        ("text", "not a complete file of weights"),
        ("shapes", r"does not load|has other shapes: conv1"),
        ("names", r"lacks \d+ parameters|lacks bn1.bias, bn1.*and \d+ more; it has the unexpected other"),
        ("digest", "SHA-256"),
    ],
)
def test_bad_weights_are_refused(kind, damage, message, tmp_path, library_model, small_mask2former):
    path, weights, settings = weights_of(kind, tmp_path, library_model, small_mask2former)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("these are no weights")
    elif damage == "shapes":
        save_file({k: torch.zeros(*v.shape, 2) if v.dim() == 4 else v for k, v in load_file(path).items()}, path)
    elif damage == "names":
        save_file({f"other.{k}": v for k, v in load_file(path).items()}, path)
    else:
        settings["sha256"] = "0" * 64
    with pytest.raises(UserError, match=message) as caught:
        build_encoder(context(kind=kind, weights=str(weights), **settings))
    assert "\n" not in str(caught.value)


def test_mask2former_weights_must_be_a_folder_with_its_configuration(tmp_path):
    with pytest.raises(UserError, match=r"config\.json"):
        build_encoder(context(kind="mask2former", model="x", weights=str(tmp_path / "none")))


#: In a process of its own, since the hub's library reads its variables on import.
_FROM_THE_HUB = """
import json, sys
from mtcp.core.run_config import EncoderConfig
from mtcp.models.encoders import timm_backbone
from mtcp.models.weights import weights_record
for model in sys.argv[1:]:
    config = EncoderConfig(kind="timm", model=model, pretrained=True)
    value = float(timm_backbone(config).state_dict()["conv1.0.weight"].flatten()[0])
    print(json.dumps({"value": value} | (weights_record(config) or {})))
"""


@pytest.mark.slow
def test_weights_that_timm_fetched_from_the_hub_are_recorded(tmp_path):
    """A made-up cache of the hub, read offline as timm would read it, by model name and by hub name and revision."""
    entry = tmp_path / "hub/models--timm--test_resnet.r160_in1k"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = entry / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (entry / "refs").mkdir()
    (entry / "refs/main").write_text(commit)
    model = timm.create_model("test_resnet")
    with torch.no_grad():
        model.get_parameter("conv1.0.weight").fill_(0.625)
    save_file(model.state_dict(), snapshot / "model.safetensors")
    cfg = {key: value for key, value in model.pretrained_cfg.items() if isinstance(value, str | int | float | list)}
    (snapshot / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": cfg}))
    names = ("test_resnet.r160_in1k", f"hf_hub:timm/test_resnet.r160_in1k@{commit}")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _FROM_THE_HUB, *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256((snapshot / "model.safetensors").read_bytes()).hexdigest()
    for line in done.stdout.splitlines():
        assert json.loads(line) == {"value": 0.625, "sha256": digest, "revision": commit}
    assert len(done.stdout.splitlines()) == 2
