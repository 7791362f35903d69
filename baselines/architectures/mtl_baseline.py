"""The usual multi-task baseline: one shared encoder, a decoder and a head per task, nothing between the tasks."""

from torch import Tensor, nn

from mtcp.models.architecture import Architecture, BuildContext, Outputs
from mtcp.models.decoder import FPN, HFP
from mtcp.models.encoders import build_trunk
from mtcp.models.heads import task_head
from mtcp.models.refinement import resize
from mtcp.plugins import PluginParameters, architecture


def task_decoder(context: BuildContext, index: int) -> nn.Sequential:
    """Return decoder, pyramid and head of one task, with the initial values that MT-CP's parts have."""
    task, channels = context.tasks[index], context.channels
    with context.part(f"{task.name}.hfp"):
        hfp = HFP(channels)
    with context.part(f"{task.name}.fpn"):
        fpn = FPN([channels, 2 * channels, 4 * channels], channels)
    with context.part(f"{task.name}.head"):
        head = task_head(task, channels, context.upsample)
    return nn.Sequential(hfp, fpn, head)


@architecture("mtl_baseline")
class MTLBaseline(Architecture):
    """trunk -> (decoder_t -> pyramid_t -> head_t) for every task t."""

    class Parameters(PluginParameters):
        pass

    def __init__(self, context: BuildContext, parameters: "MTLBaseline.Parameters") -> None:
        super().__init__()
        self.trunk = build_trunk(context)
        self.decoders = nn.ModuleDict(
            {task.name: task_decoder(context, index) for index, task in enumerate(context.tasks)}
        )

    def encode(self, image: Tensor) -> Tensor:
        self.check_batch(image)
        return self.trunk(image)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        return {task: {"final": resize(decoder(representation), size)} for task, decoder in self.decoders.items()}
