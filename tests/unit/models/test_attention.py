"""The coherence attention equals its definition, in every form, type and size."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtcp.models import attention
from mtcp.models.attention import AttentionInRows, unscaled_attention


def definition(query, key, value):
    return (query @ key.transpose(1, 2)).softmax(-1) @ value


def inputs(batch, positions, width, channels, scale=1.0):
    generator = torch.Generator().manual_seed(positions)
    query, key = (scale * torch.randn(batch, positions, width, generator=generator).relu() for _ in range(2))
    return query, key, torch.randn(batch, positions, channels, generator=generator)


def with_gradients(function, tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, weights)]


@pytest.mark.parametrize("positions", [1, 30, 192, 1024, 1025, 1216, 2000])
def test_both_forms_equal_the_definition_forward_and_backward(positions):
    tensors = inputs(2, positions, 24, 16, 0.5)
    expected = with_gradients(definition, tensors)
    for own, reference in zip(with_gradients(unscaled_attention, tensors), expected, strict=True):
        torch.testing.assert_close(own, reference, atol=2e-5 * reference.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("block", [1, 5000, 64 * 300, 128 * 300])
def test_any_block_size_gives_the_same(block, kept, monkeypatch):
    monkeypatch.setattr(attention, "WHOLE_MAP", 0)
    monkeypatch.setattr(attention, "KEPT_CPU", kept)
    monkeypatch.setattr(attention, "BLOCK_CPU", block)
    tensors = inputs(2, 300, 12, 8)
    expected = with_gradients(definition, tensors)
    for own, reference in zip(with_gradients(unscaled_attention, tensors), expected, strict=True):
        torch.testing.assert_close(own, reference, atol=1e-5 * reference.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("whole", [0, 1024])
def test_bf16_keeps_large_logits_in_fp32(whole, monkeypatch):
    # Logits near 100 to 300, where bf16 is 1/2 to 2 apart: a softmax of rounded logits would be off by a factor.
    monkeypatch.setattr(attention, "WHOLE_MAP", whole)
    tensors = [tensor.bfloat16() for tensor in inputs(1, 200, 256, 8)]
    expected = definition(*(tensor.float() for tensor in tensors))
    own = unscaled_attention(*tensors)
    assert own.dtype == torch.bfloat16
    torch.testing.assert_close(own.float(), expected, atol=0.02, rtol=0.02)


def test_autocast_casts_the_inputs_and_gradients_come_back_in_fp32(monkeypatch):
    monkeypatch.setattr(attention, "WHOLE_MAP", 0)
    leaves = [tensor.requires_grad_() for tensor in inputs(1, 70, 16, 8, 0.3)]
    with torch.autocast("cpu", torch.bfloat16):
        out = unscaled_attention(*leaves)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(leaf.grad.dtype == torch.float32 and leaf.grad.isfinite().all() for leaf in leaves)


def test_extreme_logits_stay_finite():
    query, key, value = inputs(1, 1100, 16, 8, 60.0)
    for result in with_gradients(unscaled_attention, (query, key, value)):
        assert result.isfinite().all()


@pytest.mark.parametrize("kept", [True, False])
def test_a_map_is_kept_for_the_backward_pass_up_to_a_size_of_all_images(kept, monkeypatch):
    tensors = [tensor.requires_grad_() for tensor in inputs(2, 1536, 24, 16)]
    monkeypatch.setattr(attention, "KEPT_CPU", 2 * 1536**2 - (not kept))
    entries = 0

    def pack(tensor):
        nonlocal entries
        entries += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        unscaled_attention(*tensors)
    assert entries == 2 * 1536 * (24 + 24 + 16 + 1536 * kept)


def test_a_map_that_was_kept_gives_the_gradients_of_one_computed_again_bit_for_bit(monkeypatch):
    tensors, found = inputs(2, 1216, 24, 16, 0.5), []
    for entries in (0, 1 << 25):
        monkeypatch.setattr(attention, "KEPT_CPU", entries)
        found.append(with_gradients(unscaled_attention, tensors))
    assert all(torch.equal(own, other) for own, other in zip(*found, strict=True))


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made under it that live at a time, and their `peak`."""

    def __init__(self, known):
        super().__init__()
        self.live = self.peak = 0
        self.seen = {StorageWeakRef(tensor.untyped_storage()): 0 for tensor in known}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        self.seen = {reference: size for reference, size in self.seen.items() if not reference.expired()}
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.seen.setdefault(StorageWeakRef(tensor.untyped_storage()), tensor.untyped_storage().nbytes())
        self.peak = max(self.peak, sum(self.seen.values()))
        return out


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_at_the_papers_size(device, dtype):
    """Forward and backward at 480x640 need at most 320 MB beyond Q, K and V, for tensors that have shapes alone."""
    with FakeTensorMode(), torch.no_grad():
        known = [torch.empty(1, 19200, width, device=device, dtype=dtype) for width in (512, 512, 256)]
        context = SimpleNamespace(saved_tensors=known, save_for_backward=lambda *tensors: None)
        with LiveBytes(known) as memory:
            out = AttentionInRows.forward(context, *known)
            gradients = AttentionInRows.backward(context, torch.ones_like(out))
    assert [tensor.dtype for tensor in gradients] == [dtype] * 3
    assert memory.peak >= sum(tensor.numel() * tensor.element_size() for tensor in (out, *gradients))
    assert memory.peak <= 320e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gpu_equals_cpu(dtype):
    tensors = [tensor.to(dtype) for tensor in inputs(2, 2000, 64, 32, 0.5)]
    expected = with_gradients(unscaled_attention, [tensor.float() for tensor in tensors])
    leaves = [tensor.cuda().requires_grad_() for tensor in tensors]
    out = unscaled_attention(*leaves)
    weights = torch.linspace(-1, 1, out.numel()).view_as(out).to(out)
    results = [out, *torch.autograd.grad(out, leaves, weights)]
    tolerance = 5e-3 if dtype == torch.float32 else 5e-2
    for own, reference in zip(results, expected, strict=True):
        assert (own.float().cpu() - reference).abs().max() <= tolerance * reference.abs().max()
