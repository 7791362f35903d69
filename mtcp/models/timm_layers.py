"""timm's layers with this project's computation; parameters and their names stay the same."""

from typing import Final

from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, nn

from mtcp.models.depthwise import Depthwise, is_depthwise
from mtcp.models.normalisation import BatchNorm2d


class _BatchNormAct(BatchNorm2d):
    """Batch normalisation, drop-out and activation, as in timm's RegNets, EfficientNets and MobileNets."""

    act: nn.Module
    drop: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


class _DepthwiseSame(Depthwise):
    """A depthwise convolution with TensorFlow's padding, as in weights that were trained there; a `Conv2dSame`."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(pad_same(input, list(self.kernel_size), list(self.stride)))


#: `Conv2dSame` has no padding of its own.
_DEPTHWISE: Final = {nn.Conv2d: Depthwise, Conv2dSame: _DepthwiseSame}


def use_precise_norms(model: nn.Module) -> None:
    """Give the batch normalisation layers of a timm model precise statistics; see `mtcp.models.normalisation`."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = _BatchNormAct


def use_quick_depthwise(model: nn.Module) -> None:
    """Give the depthwise convolutions of a timm model a quicker gradient; see `mtcp.models.depthwise`."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and is_depthwise(module) and type(module) in _DEPTHWISE:
            module.__class__ = _DEPTHWISE[type(module)]
