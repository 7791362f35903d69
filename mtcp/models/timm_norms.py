"""timm's batch normalisation with precise statistics; see `mtcp.models.normalisation`."""

from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from mtcp.models.normalisation import BatchNorm2d


class _BatchNormAct(BatchNorm2d):
    """Batch normalisation, drop-out and activation, as in timm's RegNets, EfficientNets and MobileNets."""

    act: nn.Module
    drop: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


def use_precise_norms(model: nn.Module) -> None:
    """Give the batch normalisation layers of a timm model precise statistics; parameters and names stay the same."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = _BatchNormAct
