"""The attention of the coherence fusion: all positions, one head, no 1/sqrt(d)."""

from torch import Tensor


def coherence_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax over key positions of (Q^T K), applied to V.

    `query` and `key` are (B, D, H, W), `value` (B, C, H, W); the result is (B, C, H, W).
    """
    logits = query.flatten(2).transpose(1, 2) @ key.flatten(2)
    mixed = value.flatten(2) @ logits.softmax(-1).transpose(1, 2)
    return mixed.view_as(value)
