"""The base class of architectures, and building one from the configuration of a run."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from mtcp.core import plugins
from mtcp.core.errors import UserError, first_sentence
from mtcp.core.plugins import PluginParameters
from mtcp.core.randomness import seeded
from mtcp.core.run_config import EncoderConfig, RunConfig
from mtcp.core.tasks import Task

#: {task: {"final" | "aux1" | "aux2" | "initial": (B, channels, H, W)}}
Outputs = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class BuildContext:
    """What an architecture may depend on, besides its own parameters.

    `size` is (H, W) of the network's input, `channels` the width C of the representation, `upsample` the factor in
    the segmentation heads, `seeds` the prefix (benchmark, seed) of the seed of every stream of initial values.
    """

    tasks: tuple[Task, ...]
    layout: str
    size: tuple[int, int]
    encoder: EncoderConfig
    channels: int
    upsample: int
    seeds: tuple[str | int, ...]
    checkpointing: bool = False
    #: Whether trained values are loaded next: then the checks made before training are not repeated.
    trained: bool = False

    def part(self, name: str) -> AbstractContextManager[None]:
        """Seed the initial values of the part `name` inside the block.

        Parts of the same name and shape start from equal values in every architecture.
        """
        return seeded(*self.seeds, "initialisation", name)


class Backbone(nn.Module, ABC):
    """A wrapper of a library's network, such as timm's, which may start from pre-trained weights."""

    @abstractmethod
    def pretrained(self) -> nn.Module:
        """Return the part that starts from pre-trained weights if the benchmark's encoder has them."""


def backbone_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of every backbone in `network`: `training.backbone_multiplier` scales their rate."""
    for module in network.modules():
        if isinstance(module, Backbone):
            yield from module.pretrained().parameters()


class Architecture(nn.Module, ABC):
    """A multi-task network: `forward(image) = decode(encode(image), (H, W))`.

    A subclass decorated with `@architecture("name")` declares `Parameters` and takes `(context, parameters)`. `encoder`
    is everything upstream of the representation that all tasks share, or None where nothing is shared; gradient schemes
    read the gradients of its parameters. `trainable` is False for predictors that are fitted in one pass.
    """

    name: ClassVar[str]
    trainable: ClassVar[bool] = True
    #: The coarsest map that a BatchNorm sees has 1/`coarsest` of the image size.
    coarsest: ClassVar[int] = 16
    Parameters: ClassVar[type[PluginParameters]] = PluginParameters

    def __init__(self) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None

    @abstractmethod
    def encode(self, image: Tensor) -> Any:
        """Return the representation of `image` (B, 3, H, W).

        A shared representation is a tensor, such as R (B, C, H/4, W/4), or a list of tensors of which, in the graph,
        none is computed from another (`mtcp.models.maps.separate`): schemes combine gradients with respect to them.
        """

    @abstractmethod
    def decode(self, representation: Any, size: tuple[int, int]) -> Outputs:
        """Return every output of every task at `size` (H, W)."""

    def forward(self, image: Tensor) -> Outputs:
        height, width = image.shape[-2:]
        return self.decode(self.encode(image), (height, width))

    def encoded(self, image: Tensor) -> Any:
        """Return `encoder(image)`; raises `UserError` for a training batch that is too small (`check_batch`)."""
        assert self.encoder is not None, f"architecture '{self.name}' has no shared encoder"
        self.check_batch(image)
        return self.encoder(image)

    def fit(self, batches: Iterable[Any]) -> None:
        """Fill the buffers of a predictor that is not trained, in one pass over `batches`."""
        raise UserError(f"architecture '{self.name}' says trainable = False and has no `fit`: define it")

    def check_batch(self, image: Tensor) -> None:
        """Raise `UserError` for a training batch whose coarsest map leaves BatchNorm one value per channel."""
        batch, _, height, width = image.shape
        if self.training and batch == 1 and max(height, width) <= self.coarsest:
            raise UserError(
                f"a training batch of one image of {height}x{width} pixels leaves BatchNorm a single value per "
                f"channel at 1/{self.coarsest} of the size: set training.batch_size to 2 or more, or use larger images"
            )


def build_network(config: RunConfig, root: Path | None = None, *, trained: bool = False) -> Architecture:
    """Return the initialised network of a run, on the CPU; raises `UserError` where the configuration cannot work.

    `root`: the project whose plug-ins are known (default: working directory). `trained`: the caller loads trained
    values next.
    """
    name, given = config.architecture.name, config.architecture.given
    chosen, path = plugins.load("architecture", name, root), plugins.path_of("architecture", name, root)
    if not issubclass(chosen, Architecture):
        raise UserError(f"architecture '{name}' in {path} must derive from Architecture")
    if inspect.isabstract(chosen):
        lacking = "`, `".join(sorted(chosen.__abstractmethods__))
        raise UserError(f"architecture '{name}' in {path} lacks `{lacking}`: define it as Architecture describes")
    parameters = plugins.parameters("architecture", name, given, root)
    for task in config.task_list:
        if hasattr(nn.ModuleDict(), task.name):
            raise UserError(
                f"task '{task.name}' of benchmark '{config.benchmark}' cannot have this name: torch's modules have "
                "an attribute of the same name"
            )
    context = BuildContext(
        tasks=config.task_list,
        layout=config.layout,
        size=(config.height, config.width),
        encoder=config.encoder,
        channels=config.channels,
        upsample=config.upsample,
        seeds=(config.benchmark, config.seed),
        checkpointing=config.training.checkpointing,
        trained=trained,
    )
    # Parts outside `context.part` start from the run's seed, too.
    with plugins.faults_named(f"architecture '{name}'"), context.part("the rest"):
        network = cast(Callable[[BuildContext, PluginParameters], Architecture], chosen)(context, parameters)
        if not trained and network.trainable:
            _require_size(network, context)
    recomputing = (getattr(module, "checkpointing", False) for module in network.modules())
    if config.training.checkpointing and network.trainable and not any(recomputing):
        raise UserError(
            f"training.checkpointing: neither architecture '{name}' nor encoder '{config.encoder.model}' recomputes "
            "anything: leave it to the methods that do (mtcp, or a mask2former encoder)"
        )
    return network


def _require_size(network: Architecture, context: BuildContext) -> None:
    """Raise `UserError` for an image size that the network cannot compute on: its maps vanish, or do not fit together.

    Networks halve their maps, so that what fits depends on the sides' remainders by 32: a small image with the same
    ones is tried first, since most networks take it.
    """
    alike = tuple(side if side < 96 else 64 + side % 32 for side in context.size)
    if _refusal(network, alike) and (reason := _refusal(network, context.size)):
        if isinstance(reason, UserError):
            raise reason
        height, width = context.size
        raise UserError(
            f"architecture '{network.name}' with encoder '{context.encoder.model}' takes no images of {height}x{width} "
            f"pixels: {first_sentence(reason)}; choose sides that are multiples of 32, or another encoder"
        ) from reason


def _refusal(network: Architecture, size: tuple[int, ...]) -> Exception | SystemExit | None:
    """Return what the network raises for an image of zeros, and leave it as it was.

    None for errors in a user's own file, which the first step names.
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, *size))
    except (Exception, SystemExit) as error:
        return None if plugins.own_line(error) and not isinstance(error, UserError) else error
    finally:
        for module, training in modes:
            module.training = training
        for module, name, buffer, value in buffers:
            module._buffers[name] = buffer.copy_(value)
    return None
