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


DEFERRED = """
import sys
import torch
from mtcp.core.startup import compiler_deferred
kept = torch.compiler.disable
with compiler_deferred():
    import timm
from mtcp.training import loop  # what a command imports besides
assert "torch._dynamo" not in sys.modules, "the compiler came along"
assert "torch._dynamo.utils" not in sys.modules and torch.compiler.disable is kept
from timm.models.naflexvit import NaFlexRopeIterator
from torchvision.ops import roi_align
box = torch.tensor([[0.0, 0, 0, 4, 4]])
assert roi_align(torch.ones(1, 1, 8, 8), box, 2).eq(1).all()
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported("cpu") == roi_align.__globals__["is_compile_supported"]("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)) == 1
"""


def test_the_compiler_is_imported_when_something_compiles() -> None:
    done = subprocess.run([sys.executable, "-c", DEFERRED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
