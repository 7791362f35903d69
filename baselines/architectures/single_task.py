"""One network per task, nothing shared: what the multi-task change Delta_m is measured against."""

from torch import Tensor, nn

from baselines.architectures.mtl_baseline import task_decoder
from mtcp.models.architecture import Architecture, BuildContext, Outputs
from mtcp.models.encoders import build_trunk
from mtcp.models.refinement import resize
from mtcp.plugins import PluginParameters, architecture


@architecture("single_task")
class SingleTask(Architecture):
    """(trunk_t -> decoder_t -> pyramid_t -> head_t) for every task t, all trunks from equal initial values."""

    class Parameters(PluginParameters):
        pass

    def __init__(self, context: BuildContext, parameters: "SingleTask.Parameters") -> None:
        super().__init__()
        names = [task.name for task in context.tasks]
        self.trunks = nn.ModuleDict({name: build_trunk(context) for name in names})
        self.decoders = nn.ModuleDict({name: task_decoder(context, index) for index, name in enumerate(names)})

    def encode(self, image: Tensor) -> dict[str, Tensor]:
        self.check_batch(image)
        return {task: trunk(image) for task, trunk in self.trunks.items()}

    def decode(self, representation: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        return {task: {"final": resize(decoder(representation[task]), size)} for task, decoder in self.decoders.items()}
