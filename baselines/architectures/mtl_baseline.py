"""The usual multi-task baseline: one shared encoder, a decoder and a head per task, no interaction between tasks."""

from torch import Tensor, nn

from mtcp.api import (
    FPN,
    HFP,
    Architecture,
    BuildContext,
    Outputs,
    PluginParameters,
    Task,
    architecture,
    build_encoder,
    task_head,
    to_nhwc,
)


class TaskDecoder(nn.Module):
    """Decoder, pyramid and head of one task, with the same initial values as MT-CP's."""

    def __init__(self, context: BuildContext, task: Task) -> None:
        super().__init__()
        channels = context.channels
        with context.part(f"{task.name}.hfp"):
            self.hfp = HFP(channels)
        with context.part(f"{task.name}.fpn"):
            self.fpn = FPN([channels, 2 * channels, 4 * channels], channels)
        with context.part(f"{task.name}.head"):
            self.head = task_head(task, channels, context.upsample)

    def forward(self, representation: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        return {"final": self.head(self.fpn(self.hfp(to_nhwc(representation).contiguous())), size)}


@architecture("mtl_baseline")
class MTLBaseline(Architecture):
    """encoder -> (decoder_t -> pyramid_t -> head_t) for every task t."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.encoder = build_encoder(context)
        self.decoders = nn.ModuleDict({task.name: TaskDecoder(context, task) for task in context.tasks})

    def encode(self, image: Tensor) -> Tensor:
        return self.encoded(image)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        return {task: decoder(representation, size) for task, decoder in self.decoders.items()}
