"""One network per task, nothing shared: what the multi-task change Delta_m is measured against."""

from torch import Tensor, nn

from baselines.architectures.mtl_baseline import TaskDecoder
from mtcp.models.architecture import Architecture, BuildContext, Outputs
from mtcp.models.encoders import build_trunk
from mtcp.plugins import PluginParameters, architecture


@architecture("single_task")
class SingleTask(Architecture):
    """(trunk_t -> decoder_t -> pyramid_t -> head_t) for every task t, all trunks from equal initial values."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict({task.name: build_trunk(context) for task in context.tasks})
        self.decoders = nn.ModuleDict({task.name: TaskDecoder(context, task) for task in context.tasks})

    def encode(self, image: Tensor) -> dict[str, Tensor]:
        self.check_batch(image)
        return {task: trunk(image) for task, trunk in self.trunks.items()}

    def decode(self, representation: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        return {task: decoder(representation[task], size) for task, decoder in self.decoders.items()}
