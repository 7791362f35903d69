"""LibMTL's network: a ResNet of stride 8 shared by all tasks, and an ASPP head per task (Lin and Zhang, JMLR 2023).

A head is DeepLab's (Chen et al., 2017): ASPP of 256 channels with rates 12, 24 and 36, image pooling and dropout, a 3x3
convolution with BatchNorm and ReLU, a 1x1 convolution. The heads have two thirds of the parameters. The image is RGB in
[0, 1], even with ImageNet weights.
"""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from baselines.architectures.segnet import as_output
from mtcp.api import (
    Architecture,
    Backbone,
    BuildContext,
    Normalise,
    Outputs,
    PluginParameters,
    UserError,
    architecture,
    timm_backbone,
)


class DilatedBackbone(Backbone):
    """The last map of the benchmark's timm encoder."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.as_is = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        with context.part("backbone"):
            self.backbone = timm_backbone(context.encoder)
        self.channels: int = self.backbone.feature_info.channels()[-1]

    def pretrained(self) -> nn.Module:
        return self.backbone

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(self.as_is(image))[-1]


class _ResNetASPP(Architecture):
    """The common part of both forms: the heads, with initial values by name."""

    def __init__(self, context: BuildContext, channels: int) -> None:
        super().__init__()
        self.tasks = context.tasks
        self.heads = nn.ModuleDict()
        for task in context.tasks:
            with context.part(f"{task.name}.head"):
                self.heads[task.name] = DeepLabHead(channels, task.channels, (12, 24, 36))

    def check_batch(self, image: Tensor) -> None:
        """Raise `UserError` for a training batch of one image: pooled over its pixels, BatchNorm has a single value."""
        if self.training and len(image) == 1:
            raise UserError(
                "a training batch of one image leaves BatchNorm a single value per channel in ASPP's image pooling: "
                "set training.batch_size to 2 or more, and training.keep_last_batch to false"
            )

    def outputs(self, maps: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        """Apply each task's head to its map and enlarge the result bilinearly with aligned corners."""
        found: Outputs = {}
        for task in self.tasks:
            raw = F.interpolate(self.heads[task.name](maps[task.name]), size, mode="bilinear", align_corners=True)
            found[task.name] = {"final": as_output(task, raw)}
        return found


@architecture("resnet_aspp")
class ResNetASPP(_ResNetASPP):
    """One ResNet, an ASPP head per task."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        encoder = DilatedBackbone(context)
        super().__init__(context, encoder.channels)
        self.encoder = encoder

    def encode(self, image: Tensor) -> Tensor:
        return self.encoded(image)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        return self.outputs(dict.fromkeys(self.heads, representation), size)


@architecture("resnet_aspp_single_task")
class ResNetASPPSingleTask(_ResNetASPP):
    """A ResNet and an ASPP head for each task, nothing shared."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        encoders = {task.name: DilatedBackbone(context) for task in context.tasks}
        super().__init__(context, next(iter(encoders.values())).channels)
        self.encoders = nn.ModuleDict(encoders)

    def encode(self, image: Tensor) -> dict[str, Tensor]:
        self.check_batch(image)
        return {task: encoder(image) for task, encoder in self.encoders.items()}

    def decode(self, representation: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        return self.outputs(representation, size)
