"""MT-CP by the usual means: channels first, whole attention maps, concatenations, every library layer as it is.

A yardstick for the numbers, the time and the memory of `mtcp.models`, written after docs/model.md for NYUD's layout, in
training mode. It reads the parameters of a network built there; only the encoder is a copy, by the library's classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mask2FormerModel

from mtcp.models import cbam, coherence, decoder, heads, network, refinement, swin

WINDOW = swin.WINDOW


class PlainMTCP(nn.Module):
    """The same function of an image as `built`, whose parameters beyond the encoder are shared."""

    def __init__(self, built: network.MTCP) -> None:
        super().__init__()
        self.branches = built.branches
        self.encoder = Mask2FormerModel(built.encoder.model.config)
        self.encoder.load_state_dict(built.encoder.model.state_dict(), strict=False)

    def forward(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        decoded = self.encoder(image)
        shared = decoded.pixel_decoder_last_hidden_state * decoded.masks_queries_logits[-1].sum(1, keepdim=True)
        maps = {task: pyramid_maps(own["hfp"], shared) for task, own in self.branches.items()}
        own = {task: top_down(branch["fpn"], maps[task]) for task, branch in self.branches.items()}
        return {task: self._outputs(task, own, maps[task], image.shape[-2:]) for task in self.branches}

    def _outputs(self, task: str, own: dict[str, Tensor], maps: list[Tensor], size: torch.Size) -> dict[str, Tensor]:
        branch, back = self.branches[task], self.branches[task]["traceback"]
        fused = fusion(branch["cfm"], own[task], [own[other] for other in own if other != task])
        first, travelling = refined(back.srm1, fused, maps[2])
        second, travelling = refined(back.srm2, travelling, maps[1])
        last, _ = refined(back.srm3, travelling, maps[0])
        outputs = {
            "aux1": auxiliary(branch["aux_head1"], first),
            "aux2": auxiliary(branch["aux_head2"], second),
            "final": final(branch["head"], last),
        }
        return {name: F.interpolate(logits, size=size, mode="bilinear") for name, logits in outputs.items()}


def convolved(layer: nn.Linear, x: Tensor) -> Tensor:
    """A 1x1 convolution of (B, C, H, W)."""
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def normed(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation by the batch's own statistics."""
    return F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)


def gated(part: cbam.CBAM, x: Tensor) -> Tensor:
    """CBAM: the channel gate, then the spatial one."""
    pooled = (x.mean((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1))
    channel = torch.sigmoid(sum(part.channel.fc2(F.relu(part.channel.fc1(values))) for values in pooled))
    x = x * channel[:, :, None, None]
    pooled = torch.cat((x.max(1, keepdim=True).values, x.mean(1, keepdim=True)), 1)
    return x * torch.sigmoid(normed(part.spatial.norm, part.spatial.conv(pooled)))


def fusion(part: coherence.CFM, main: Tensor, others: list[Tensor]) -> Tensor:
    """The coherence fusion, with the whole map of all positions by all positions."""
    others = [other * torch.sigmoid(convolved(gate, other)) for gate, other in zip(part.gates, others, strict=True)]
    fused = F.relu(convolved(part.mix, torch.cat(others, 1)))
    query = F.relu(normed(part.query_norm, gated(part.query_cbam, fused))).flatten(2)
    key = F.relu(normed(part.key_norm, gated(part.key_cbam, fused))).flatten(2)
    value = normed(part.main_norm, gated(part.main_cbam, main))
    weights = torch.softmax(torch.bmm(query.transpose(1, 2), key), -1)
    mixed = torch.bmm(value.flatten(2), weights.transpose(1, 2)).view_as(value)
    return normed(part.out_norm, gated(part.out_cbam, mixed))


def refined(part: refinement.SRM, pred: Tensor, feature: Tensor) -> tuple[Tensor, Tensor | None]:
    """A spatial refinement module, by the concatenation of both maps."""
    pred, feature = gated(part.pred_cbam, pred), gated(part.feature_cbam, feature)
    both = torch.cat((F.interpolate(pred, size=feature.shape[2:], mode="bilinear"), feature), 1)
    travelling = None
    if part.feature_conv is not None:
        travelling = F.relu(normed(part.feature_norm, convolved(part.feature_conv, both)))
    return F.relu(normed(part.pred_norm, convolved(part.pred_conv, both))), travelling


def auxiliary(part: heads.DeepAuxiliaryHead, x: Tensor) -> Tensor:
    """NYUD's head of an intermediate map."""
    return convolved(part.conv3, F.relu(normed(part.norm, convolved(part.conv2, convolved(part.conv1, x)))))


def final(part: nn.Module, x: Tensor) -> Tensor:
    """A task's head at its own resolution."""
    if isinstance(part, heads.DepthHead):
        larger = F.interpolate(convolved(part.conv1, x), scale_factor=2, mode="bilinear", align_corners=True)
        return part.conv3(F.relu(convolved(part.conv2, larger)))
    logits = convolved(part.conv2, F.relu(normed(part.norm, convolved(part.conv1, x))))
    if part.upsample == 1:
        return logits
    return F.interpolate(logits, scale_factor=part.upsample, mode="bilinear", align_corners=True)


def top_down(part: decoder.FPN, maps: list[Tensor]) -> Tensor:
    """The feature pyramid's finest map."""
    laterals = [convolved(lateral, level) for lateral, level in zip(part.lateral, maps, strict=True)]
    total = laterals.pop()
    for finer in reversed(laterals):
        total = finer + F.interpolate(total, size=finer.shape[2:])
    return part.output(total)


def pyramid_maps(part: decoder.HFP, shared: Tensor) -> list[Tensor]:
    """The decoder's three Swin stages."""
    x, maps = shared.permute(0, 2, 3, 1), []
    for stage, norm in zip(part.stages, part.out_norms, strict=True):
        for block in stage.blocks:
            x = x + window_attention(block.attn, block.norm1(x))
            hidden = F.linear(block.norm2(x), block.mlp.fc1.weight, block.mlp.fc1.bias)
            x = x + F.linear(F.gelu(hidden), block.mlp.fc2.weight, block.mlp.fc2.bias)
        maps.append(norm(x).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
            x = torch.cat((x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]), -1)
            x = F.linear(stage.downsample.norm(x), stage.downsample.reduction.weight)
    return maps


def window_attention(part: swin.WindowAttention, x: Tensor) -> Tensor:
    """Attention in windows of the map, padded first and shifted after."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
    padded = x.shape[1:3]
    if part.shift:
        x = torch.roll(x, (-part.shift, -part.shift), (1, 2))
    windows = swin.to_windows(x)
    qkv = F.linear(windows, part.qkv.weight, part.qkv.bias)
    query, key, value = qkv.view(-1, WINDOW**2, 3, part.heads, channels // part.heads).permute(2, 0, 3, 1, 4)
    bias = part.relative_position_bias_table[part.relative_position_index].view(WINDOW**2, WINDOW**2, -1)
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias.permute(2, 0, 1)
    if part.shift:
        mask = swin.shift_mask(*padded, part.shift, x.device)
        logits = (logits.unflatten(0, (batch, -1)) + mask).flatten(0, 1)
    mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
    x = swin.from_windows(F.linear(mixed, part.proj.weight, part.proj.bias), *padded)
    if part.shift:
        x = torch.roll(x, (part.shift, part.shift), (1, 2))
    return x[:, :height, :width]
