"""Coherence fusion (CFM): what the other tasks see decides where a task's features are gathered from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.attention import coherence_attention
from mtcp.models.cbam import CBAM


class CFM(nn.Module):
    """Fuse X_t with the maps A of the other tasks (model.md, item 3; Fontana et al., WACV 2025).

    V = BN(CBAM(X_t)); F = ReLU(mix(A * sigmoid(gate(A)))), the gate a 1x1 convolution within each task;
    Q = ReLU(BN(CBAM(F))), K = ReLU(BN(CBAM'(F))); result BN(CBAM(softmax(Q^T K) V)), all (B, C, h, w).
    """

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        joint = channels * others
        self.main_cbam, self.main_norm = CBAM(channels), nn.BatchNorm2d(channels)
        self.gates = nn.Conv2d(joint, joint, 1, groups=others)
        self.mix = nn.Conv2d(joint, joint, 1)
        self.query_cbam, self.query_norm = CBAM(joint), nn.BatchNorm2d(joint)
        self.key_cbam, self.key_norm = CBAM(joint), nn.BatchNorm2d(joint)
        self.out_cbam, self.out_norm = CBAM(channels), nn.BatchNorm2d(channels)

    def forward(self, main: Tensor, others: list[Tensor]) -> Tensor:
        auxiliary = torch.cat(others, 1)
        fused = F.relu(self.mix(auxiliary * self.gates(auxiliary).sigmoid()))
        query = F.relu(self.query_norm(self.query_cbam(fused)))
        key = F.relu(self.key_norm(self.key_cbam(fused)))
        value = self.main_norm(self.main_cbam(main))
        return self.out_norm(self.out_cbam(coherence_attention(query, key, value)))
