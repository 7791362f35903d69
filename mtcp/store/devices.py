"""The devices that torch computes on here."""

from mtcp.core.errors import UserError
from mtcp.core.words import counted


def existing_device(name: str, count: int = 1) -> str:
    """Return `name`; raises `UserError` where torch has no such device, or fewer than the `count` needed."""
    import torch

    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name} is no device that mtcp computes on: use cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name}: torch sees {counted(torch.cuda.device_count(), 'GPU')} here; use cpu")
    if device.type == "cuda" and count > 1 and (device.index is not None or torch.cuda.device_count() < count):
        raise UserError(
            f"device {name}: {count} processes (`resources`) need a GPU each, and torch sees "
            f"{torch.cuda.device_count()}: use cuda with as many, or cpu"
        )
    return name
