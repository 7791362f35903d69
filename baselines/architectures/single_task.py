"""One network per task, nothing shared: the reference of the multi-task change Delta_m."""

from torch import Tensor, nn

from baselines.architectures.mtl_baseline import TaskDecoder
from mtcp.api import Architecture, BuildContext, Outputs, PluginParameters, architecture, build_encoder


@architecture("single_task")
class SingleTask(Architecture):
    """(encoder_t -> decoder_t -> pyramid_t -> head_t) for every task t; all encoders have equal initial values."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({task.name: build_encoder(context) for task in context.tasks})
        self.decoders = nn.ModuleDict({task.name: TaskDecoder(context, task) for task in context.tasks})

    def encode(self, image: Tensor) -> dict[str, Tensor]:
        self.check_batch(image)
        return {task: encoder(image) for task, encoder in self.encoders.items()}

    def decode(self, representation: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        return {task: decoder(representation[task], size) for task, decoder in self.decoders.items()}
