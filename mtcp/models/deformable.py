"""The layer of Mask2Former's pixel decoder: multi-scale deformable attention (Zhu et al., ICLR 2021, equation 3)."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderLayer


class DeformableLayer(Mask2FormerPixelDecoderEncoderLayer):
    """x -> LN(x + attention(x)), then x -> LN(x + MLP(x)); parameters and values are those of `transformers`.

    The library gathers the values of all levels and points, weights them and sums over a last axis of 12. Here queries
    are the last axis and points are added one at a time, which takes less than half the time on a CPU. The library's
    overflow check in every layer is left out: it makes a GPU synchronise and splits a compiled graph.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        **unused: Any,
    ) -> tuple[Tensor]:
        """Map tokens (B, Q, C) of all levels to the same shape. `attention_mask` is ignored: no image is padded.

        `reference_points` (B, Q, L, 2) are the tokens' positions (x, y) on every level, as fractions of the map.
        """
        drop = partial(F.dropout, p=self.dropout, training=self.training)
        mixed = self._attention(hidden_states, position_embeddings, reference_points, spatial_shapes_list)
        hidden = self.self_attn_layer_norm(hidden_states + drop(mixed))
        mapped = self.fc2(drop(self.activation_fn(self.fc1(hidden))))
        return (self.final_layer_norm(hidden + drop(mapped)),)

    def _attention(
        self, hidden: Tensor, positions: Tensor, reference_points: Tensor, shapes: list[tuple[int, int]]
    ) -> Tensor:
        """For every token and head, sum over levels l and points p A_lp V_l(r + D_lp), V_l sampled bilinearly."""
        layer, placed = self.self_attn, hidden + positions
        batch, tokens, _ = placed.shape
        weights = layer.attention_weights(placed).view(batch, tokens, layer.n_heads, -1).softmax(-1)
        offsets = layer.sampling_offsets(placed).view(batch, tokens, layer.n_heads, layer.n_levels, layer.n_points, 2)
        sizes = reference_points.new_tensor([(width, height) for height, width in shapes])
        grids = 2 * (reference_points[:, :, None, :, None] + offsets / sizes[:, None]) - 1
        value = layer.value_proj(hidden).unflatten(-1, (layer.n_heads, -1)).permute(0, 2, 3, 1).flatten(0, 1)
        total = torch.zeros((), dtype=value.dtype, device=value.device)
        for (height, width), level, grid, weight in zip(
            shapes,
            value.split([height * width for height, width in shapes], -1),
            grids.permute(3, 0, 2, 4, 1, 5).flatten(1, 2),
            weights.unflatten(-1, (layer.n_levels, -1)).permute(3, 0, 2, 4, 1).flatten(1, 2),
            strict=True,
        ):
            values = F.grid_sample(level.unflatten(-1, (height, width)), grid, align_corners=False)
            for point, share in zip(values.unbind(2), weight.unbind(1), strict=True):
                total = total + point * share[:, None]
        return layer.output_proj(total.unflatten(0, (batch, -1)).permute(0, 3, 1, 2).flatten(2))
