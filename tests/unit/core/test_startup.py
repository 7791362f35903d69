"""What a command imports before it begins its work."""

import subprocess
import sys

PROGRAM = """
import importlib.util
import sys
from mtcp.core.startup import uncollected
with uncollected():
    import timm
assert not any(name.split(".")[0] == "wandb" for name in sys.modules), "imported although nothing logs to it"
import gc
assert gc.isenabled()
importlib.util.find_spec('wandb')  # raises where the block left its mark
"""


def test_timm_brings_no_logger_along() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
