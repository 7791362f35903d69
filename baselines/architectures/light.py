"""`single_task` and `mtl_baseline` with the decoder of most published architectures: a multi-scale head per task.

The reference for architectures with such heads on an encoder's four maps: they then differ only in what is between
encoder and head. (`single_task` and `mtl_baseline` have MT-CP's Swin decoders.)
"""

from torch import Tensor, nn

from mtcp.api import (
    Architecture,
    BuildContext,
    MapArchitecture,
    MapEncoder,
    MapParameters,
    MultiScaleHead,
    Outputs,
    architecture,
    at_size,
    per_task,
)


@architecture("mtl_baseline_light")
class MTLBaselineLight(MapArchitecture):
    """encoder -> Head_t for every task t."""

    def __init__(self, context: BuildContext, parameters: MapParameters) -> None:
        super().__init__(context, parameters)
        self.head = per_task(context, "multi_scale_head", lambda task: MultiScaleHead(self.widths, task))

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        return {task: {"final": at_size(head(representation), size)} for task, head in self.head.items()}


@architecture("single_task_light")
class SingleTaskLight(Architecture):
    """encoder_t -> Head_t for every task t; all encoders have equal initial values, and nothing is shared."""

    Parameters = MapParameters
    coarsest = 32

    def __init__(self, context: BuildContext, parameters: MapParameters) -> None:
        super().__init__()
        encoders = {task.name: MapEncoder(context, parameters.widths) for task in context.tasks}
        self.encoders = nn.ModuleDict(encoders)
        self.head = per_task(context, "multi_scale_head", lambda task: MultiScaleHead(encoders[task.name].widths, task))

    def encode(self, image: Tensor) -> dict[str, list[Tensor]]:
        self.check_batch(image)
        return {task: encoder(image) for task, encoder in self.encoders.items()}

    def decode(self, representation: dict[str, list[Tensor]], size: tuple[int, int]) -> Outputs:
        return {task: {"final": at_size(head(representation[task]), size)} for task, head in self.head.items()}
