"""Coherence fusion (CFM): the other tasks' features decide from which positions a task gathers its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.attention import unscaled_attention
from mtcp.models.cbam import CBAM
from mtcp.models.layers import Projection
from mtcp.models.normalisation import BatchNorm


class CFM(nn.Module):
    """Fuse a task's map X with the maps A_k of the other tasks (Fontana et al., WACV 2025, as released).

    V = BN(CBAM(X)); F = ReLU(mix([A_k * sigmoid(gate_k(A_k))])); Q = ReLU(BN(CBAM(F))), K = ReLU(BN(CBAM'(F)));
    result BN(CBAM(softmax(Q K^T) V)). Maps are (B, h, w, C); the width of Q and K is C times the number of other tasks.
    """

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        joint = channels * others
        self.main_cbam, self.main_norm = CBAM(channels), BatchNorm(channels)
        self.gates = nn.ModuleList(Projection(channels, channels) for _ in range(others))
        self.mix = Projection(joint, joint)
        self.query_cbam, self.query_norm = CBAM(joint), BatchNorm(joint)
        self.key_cbam, self.key_norm = CBAM(joint), BatchNorm(joint)
        self.out_cbam, self.out_norm = CBAM(channels), BatchNorm(channels)

    def forward(self, main: Tensor, others: list[Tensor]) -> Tensor:
        gated = [other * gate(other).sigmoid() for gate, other in zip(self.gates, others, strict=True)]
        fused = F.relu(self.mix(torch.cat(gated, -1)))
        query = F.relu(self.query_norm(self.query_cbam(fused)))
        key = F.relu(self.key_norm(self.key_cbam(fused)))
        value = self.main_norm(self.main_cbam(main))
        mixed = unscaled_attention(query.flatten(1, 2), key.flatten(1, 2), value.flatten(1, 2))
        return self.out_norm(self.out_cbam(mixed.view_as(value)))
