"""Encoders for architectures that read several maps, F4 to F32 at 1/4 to 1/32 of the image, or single stages."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.core.startup import uncollected
from mtcp.core.tasks import Task
from mtcp.models.architecture import Architecture, BuildContext
from mtcp.models.blocks import ConvNorm
from mtcp.models.encoders import TimmMaps
from mtcp.models.layers import to_nchw, to_nhwc

if TYPE_CHECKING:
    from mtcp.models.mask2former import SwinMaps

SCALES = (4, 8, 16, 32)
Width = Annotated[int, Field(ge=1, le=4096)]


class MapParameters(PluginParameters):
    """The parameters of all architectures that read an encoder's maps."""

    widths: tuple[Width, Width, Width, Width] | None = Field(
        None, description="widths that a 1x1 convolution, BatchNorm and ReLU give the four maps; null: the encoder's"
    )


class MapEncoder(nn.Module):
    """image (B, 3, H, W) -> [F4, F8, F16, F32], each (B, c, h, w); `widths` holds the four values of c.

    Uses a timm backbone with reductions 4, 8, 16, 32, or the Swin encoder of a Mask2Former without pixel decoder and
    queries. Raises `UserError` for a backbone with other maps.
    """

    def __init__(self, context: BuildContext, widths: tuple[int, ...] | None = None) -> None:
        super().__init__()
        with context.part("encoder"):
            self.source = _source(context)
        found = list(self.source.widths)
        self.widths = list(widths or found)
        self.adapt = nn.ModuleList()
        if widths:
            with context.part("widths"):
                self.adapt.extend(ConvNorm(before, after) for before, after in zip(found, widths, strict=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [to_nchw(level) for level in self.source.maps(image)]
        if self.adapt:
            maps = [F.relu_(adapt(level)) for adapt, level in zip(self.adapt, maps, strict=True)]
        return separate(maps)


def separate(tensors: list[Tensor]) -> list[Tensor]:
    """Return views of `tensors` such that, in the graph, no result is computed from another.

    The gradient with respect to each result is then only what reaches it directly, and the gradients of all results
    can be propagated further in one backward pass.
    """
    return [tensor.view_as(tensor) for tensor in tensors]


def _source(context: BuildContext) -> "TimmMaps | SwinMaps":
    if context.encoder.kind == "mask2former":
        with uncollected():
            from mtcp.models.mask2former import SwinMaps

        return SwinMaps(context)
    source = TimmMaps(context)
    if tuple(source.reductions) != SCALES:
        scales = ", ".join(f"1/{reduction}" for reduction in source.reductions)
        raise UserError(
            f"encoder.model: '{context.encoder.model}' gives maps at {scales}, and this architecture reads maps at "
            "1/4, 1/8, 1/16 and 1/32: choose a backbone with these, such as a ResNet, ConvNeXt, Swin or HRNet"
        )
    return source


class StageEncoder(TimmMaps):
    """A backbone cut into stages after its maps at 1/4 .. 1/32; the stem belongs to the first stage.

    Only a chain of modules can be cut (timm's `FeatureListNet`): ResNet, ConvNeXt, Swin, RegNet, RepViT and others.
    """

    def __init__(self, context: BuildContext) -> None:
        if context.encoder.kind != "timm":
            raise _no_stages(context)
        super().__init__(context)
        if type(self.backbone).__name__ != "FeatureListNet" or tuple(self.reductions) != SCALES:
            raise _no_stages(context)
        outputs = list(self.backbone.return_layers)[-len(SCALES) :]
        names = list(self.backbone.keys())
        ends = [names.index(output) + 1 for output in outputs]
        self.chain = [names[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def stage(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run stage `index` on the previous stage's map (the image for 0): (bottom, top), each (B, c, h, w).

        The top is the stage's output. The bottom is the input of the stage's last residual block, or the top where the
        stage has only one block.
        """
        if index == 0:
            x = self.prepared(x)
        elif not self.nchw:
            x = to_nhwc(x)
        *before, last = (self.backbone[name] for name in self.chain[index])
        for module in before:
            x = module(x)
        blocks = list(last) if type(last) is nn.Sequential else [last]
        for block in blocks[:-1]:
            x = block(x)
        top = blocks[-1](x)
        bottom = x if len(blocks) > 1 else top
        return (bottom, top) if self.nchw else (to_nchw(bottom), to_nchw(top))


def _no_stages(context: BuildContext) -> UserError:
    return UserError(
        f"encoder.model: '{context.encoder.model}' is not a chain of stages with maps at 1/4, 1/8, 1/16, 1/32, which "
        "this architecture cuts apart: choose a ResNet, ConvNeXt, Swin, RegNet or RepViT of timm"
    )


class MapArchitecture(Architecture):
    """An architecture whose tasks share one encoder with four maps of `widths` channels; a subclass adds `decode`."""

    Parameters = MapParameters
    coarsest = 32

    def __init__(self, context: BuildContext, parameters: MapParameters) -> None:
        super().__init__()
        encoder = MapEncoder(context, parameters.widths)
        self.encoder, self.widths = encoder, encoder.widths

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return [F4, F8, F16, F32]."""
        return self.encoded(image)


def per_task(context: BuildContext, name: str, build: Callable[[Task], nn.Module]) -> nn.ModuleDict:
    """Return {task: build(task)}, each with the initial values of the part `<task>.<name>`."""
    parts = nn.ModuleDict()
    for task in context.tasks:
        with context.part(f"{task.name}.{name}"):
            parts[task.name] = build(task)
    return parts
