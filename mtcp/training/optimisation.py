"""The optimiser and the learning rate schedule of one run, set by `training` in a benchmark or a method."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mtcp.core.run_config import TrainingConfig
from mtcp.core.startup import optimiser_without_compiler
from mtcp.models.architecture import backbone_parameters


def build_optimiser(network: nn.Module, settings: TrainingConfig, device: torch.device) -> Optimizer:
    """Return the optimiser of the network; a scheme's parameters have their own (`mtcp.weighting.learning`).

    The learning rate of a backbone's parameters is `backbone_multiplier` times the rate (each group's `multiplier`).

    adamw decouples weight decay from the gradient (Loshchilov and Hutter, ICLR 2019); adam (Kingma and Ba, ICLR 2015)
    and sgd add the decay to the gradient.
    """
    backbone = set(backbone_parameters(network))
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learned if p not in backbone], "multiplier": 1.0},
        {"params": [p for p in learned if p in backbone], "multiplier": settings.backbone_multiplier},
    ]
    groups = [{**group, "lr": settings.learning_rate * group["multiplier"]} for group in groups if group["params"]]
    common: dict[str, Any] = {
        "weight_decay": settings.weight_decay,
        "fused": device.type in ("cuda", "cpu"),
    }
    match settings.optimiser:
        case "adamw":
            return optimiser_without_compiler(torch.optim.AdamW, groups, **common)
        case "adam":
            return optimiser_without_compiler(torch.optim.Adam, groups, **common)
        case "sgd":
            return optimiser_without_compiler(torch.optim.SGD, groups, momentum=settings.momentum, **common)


def learning_rate(settings: TrainingConfig, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate at `step` of `epoch`, both counted from 0; an epoch has `steps` steps.

    Time t is in epochs: t = epoch, or t = epoch + step / steps with `schedule_per: step`; a tick is 1 or 1 / steps.
    With W = `warmup_epochs`, T = `epochs` and the base rate lr:

    - t < W: lr (t + tick) / W, linear, so that the last tick of the warm-up has the rate lr;
    - poly: lr (1 - s) ** decay_power; cosine: lr (1 + cos(pi s)) / 2, with s = (t - W) / (T - W);
    - step: lr decay_factor ** floor(t / decay_every), with t counted from the first epoch, warm-up included;
    - constant: lr.

    Sources: poly as in DeepLab (Chen et al., TPAMI 2018), cosine without restarts as in SGDR (Loshchilov and Hutter,
    ICLR 2017), warm-up as in Goyal et al. (2017).
    """
    tick = 1 / steps if settings.schedule_per == "step" else 1.0
    time = epoch + step * tick if settings.schedule_per == "step" else float(epoch)
    if time < settings.warmup_epochs:
        return settings.learning_rate * min((time + tick) / settings.warmup_epochs, 1.0)
    done = (time - settings.warmup_epochs) / (settings.epochs - settings.warmup_epochs)
    match settings.schedule:
        case "poly":
            return settings.learning_rate * (1 - done) ** settings.decay_power
        case "cosine":
            return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
        case "step":
            # The small offset is needed because epoch + step / steps may round to just below a whole number.
            return settings.learning_rate * settings.decay_factor ** math.floor(
                time / (settings.decay_every or 1) + 1e-9
            )
        case "constant":
            return settings.learning_rate
