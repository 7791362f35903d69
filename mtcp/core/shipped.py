"""Files that are shipped with mtcp and are not modules: configuration, workflow, profiles."""

import sysconfig
from pathlib import Path

from mtcp.core.plugins import PACKAGE_ROOT


def shipped(name: str) -> Path:
    """The file or folder `name` ("config", "workflow/Snakefile", ...) of the checkout, or of the installed package."""
    checkout = PACKAGE_ROOT / name
    return checkout if checkout.exists() else Path(sysconfig.get_path("data")) / "share/mtcp" / name
