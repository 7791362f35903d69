"""MT-CP (WACV 2025): shared encoder, one decoder per task, coherence fusion across tasks, trace-back, heads."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from mtcp.core.plugins import PluginParameters, architecture
from mtcp.core.tasks import Task
from mtcp.models.architecture import Architecture, BuildContext, Outputs
from mtcp.models.checkpointing import recomputed
from mtcp.models.coherence import CFM
from mtcp.models.decoder import FPN, HFP
from mtcp.models.encoders import build_encoder
from mtcp.models.heads import auxiliary_head, task_head
from mtcp.models.layers import to_nhwc
from mtcp.models.refinement import TraceBack


@architecture("mtcp")
class MTCP(Architecture):
    """The network of MT-CP; every parameter is one row of the ablation table.

    Without coherence, the trace-back starts from the task's pyramid map X_t. Without trace-back, the heads read the
    fused map, and there are no auxiliary outputs.
    """

    class Parameters(PluginParameters):
        coherence: Literal["cfm", "none"] = Field("cfm", description="fusion across tasks")
        trace_back: bool = Field(True, description="refine the fused map through the decoder's maps")
        auxiliary: bool = Field(True, description="predictions from the first two trace-back steps")
        initial_prediction: bool = Field(False, description="a further head on the fused map")

    def __init__(self, context: BuildContext, parameters: "MTCP.Parameters") -> None:
        super().__init__()
        self.tasks = [task.name for task in context.tasks]
        self.checkpointing = context.checkpointing
        self.encoder = build_encoder(context)
        channels, layout = context.channels, context.layout
        parts: dict[str, Callable[[Task], nn.Module]] = {
            "hfp": lambda task: HFP(channels),
            "fpn": lambda task: FPN([channels, 2 * channels, 4 * channels], channels),
            "head": lambda task: task_head(task, channels, context.upsample),
        }
        if parameters.coherence == "cfm" and len(self.tasks) > 1:
            parts["cfm"] = lambda task: CFM(channels, len(self.tasks) - 1)
        if parameters.trace_back:
            parts["traceback"] = lambda task: TraceBack(channels, parameters.auxiliary)
            if parameters.auxiliary:
                parts["aux_head1"] = parts["aux_head2"] = lambda task: auxiliary_head(task, channels, layout)
        if parameters.initial_prediction:
            parts["initial_head"] = parts["head"]
        self.branches = nn.ModuleDict()
        for task in context.tasks:
            self.branches[task.name] = branch = nn.ModuleDict()
            for name, build in parts.items():
                with context.part(f"{task.name}.{name}"):
                    branch[name] = build(task)

    def encode(self, image: Tensor) -> Tensor:
        return self.encoded(image)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        shared = to_nhwc(representation).contiguous()
        maps = {task: self._run(task, "hfp", shared) for task in self.tasks}
        own = {task: self._branch(task)["fpn"](maps[task]) for task in self.tasks}
        return {task: self._task_outputs(task, own, maps[task], size) for task in self.tasks}

    def _task_outputs(
        self, task: str, own: dict[str, Tensor], maps: list[Tensor], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        branch = self._branch(task)
        fused = own[task]
        if "cfm" in branch:
            fused = self._run(task, "cfm", fused, [own[other] for other in self.tasks if other != task])
        outputs = {}
        if "initial_head" in branch:
            outputs["initial"] = branch["initial_head"](fused, size)
        if "traceback" not in branch:
            return {**outputs, "final": branch["head"](fused, size)}
        first, second, last = self._run(task, "traceback", fused, maps)
        if "aux_head1" in branch:
            outputs["aux1"] = branch["aux_head1"](first, size)
            outputs["aux2"] = branch["aux_head2"](second, size)
        return {**outputs, "final": branch["head"](last, size)}

    def _branch(self, task: str) -> nn.ModuleDict:
        branch = self.branches[task]
        assert isinstance(branch, nn.ModuleDict)
        return branch

    def _run(self, task: str, part: str, *args: Any) -> Any:
        module = self._branch(task)[part]
        return recomputed(module, *args) if self.checkpointing and self.training else module(*args)
