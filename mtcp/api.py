"""The public interface: what a scheme or an architecture in a file of one's own, and a notebook, import.

Names that are exported here keep their meaning between minor versions; everything else of `mtcp` may move.
"""

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters, architecture, scheme
from mtcp.core.plugins import load as load_plugin
from mtcp.core.plugins import parameters as plugin_parameters
from mtcp.core.tasks import VOID, Task
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import Architecture, BuildContext, Outputs
from mtcp.models.decoder import FPN, HFP
from mtcp.models.encoders import build_encoder
from mtcp.models.heads import task_head
from mtcp.models.layers import at_size, to_nchw, to_nhwc
from mtcp.store.trained import TrainedRun, load_run
from mtcp.weighting import solvers
from mtcp.weighting.base import Diverged, EpochMeans, LossScheme, SchemeContext
from mtcp.weighting.gradients import GradientScheme, GramianScheme, JacobianScheme, solving

__all__ = [
    "FPN",
    "HFP",
    "VOID",
    "Architecture",
    "Batch",
    "BuildContext",
    "Diverged",
    "EpochMeans",
    "GradientScheme",
    "GramianScheme",
    "JacobianScheme",
    "LossScheme",
    "Outputs",
    "PluginParameters",
    "SchemeContext",
    "Task",
    "TrainedRun",
    "UserError",
    "architecture",
    "at_size",
    "build_encoder",
    "load_plugin",
    "load_run",
    "plugin_parameters",
    "scheme",
    "solvers",
    "solving",
    "task_head",
    "to_nchw",
    "to_nhwc",
]
