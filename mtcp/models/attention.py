"""The attention of the coherence fusion: all positions, one head, no 1/sqrt(d)."""

from torch import Tensor


def coherence_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax over key positions of (Q K^T), applied to V.

    `query` and `key` are (B, N, D), `value` (B, N, C); the result is (B, N, C).
    """
    return (query @ key.transpose(1, 2)).softmax(-1) @ value
