"""The public interface: what plug-ins (schemes and architectures) and notebooks import.

Names exported here keep their meaning between minor versions; everything else in `mtcp` may change.
"""

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters, architecture, scheme
from mtcp.core.plugins import load as load_plugin
from mtcp.core.plugins import parameters as plugin_parameters
from mtcp.core.project import Project
from mtcp.core.tasks import VOID, Task
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import Architecture, Backbone, BuildContext, Outputs, build_network
from mtcp.models.attention import unscaled_attention
from mtcp.models.blocks import Basic, Bottle, ConvNorm, ConvPair, MultiScaleHead, gathered, prediction
from mtcp.models.decoder import FPN, HFP
from mtcp.models.encoders import Normalise, build_encoder, timm_backbone
from mtcp.models.heads import task_head
from mtcp.models.layers import MLP, Projection, at_size, to_nchw, to_nhwc
from mtcp.models.maps import SCALES, MapArchitecture, MapEncoder, MapParameters, StageEncoder, per_task, separate
from mtcp.models.normalisation import BatchNorm2d
from mtcp.store.trained import TrainedRun, load_run
from mtcp.weighting import solvers
from mtcp.weighting.base import Diverged, EpochMeans, LossScheme, SchemeContext
from mtcp.weighting.by_task import numbers_by_task, require_task
from mtcp.weighting.gradients import GradientScheme, GramianScheme, JacobianScheme, solving
from mtcp.weighting.learned import LearnedWeights, LogWeights
from mtcp.weighting.samples import PreviousGradients
from mtcp.weighting.shared import gramian_of
from mtcp.weighting.simplex import SimplexWeights

__all__ = [
    "FPN",
    "HFP",
    "MLP",
    "SCALES",
    "VOID",
    "Architecture",
    "Backbone",
    "Basic",
    "Batch",
    "BatchNorm2d",
    "Bottle",
    "BuildContext",
    "ConvNorm",
    "ConvPair",
    "Diverged",
    "EpochMeans",
    "GradientScheme",
    "GramianScheme",
    "JacobianScheme",
    "LearnedWeights",
    "LogWeights",
    "LossScheme",
    "MapArchitecture",
    "MapEncoder",
    "MapParameters",
    "MultiScaleHead",
    "Normalise",
    "Outputs",
    "PluginParameters",
    "PreviousGradients",
    "Project",
    "Projection",
    "SchemeContext",
    "SimplexWeights",
    "StageEncoder",
    "Task",
    "TrainedRun",
    "UserError",
    "architecture",
    "at_size",
    "build_encoder",
    "build_network",
    "gathered",
    "gramian_of",
    "load_plugin",
    "load_run",
    "numbers_by_task",
    "per_task",
    "plugin_parameters",
    "prediction",
    "require_task",
    "scheme",
    "separate",
    "solvers",
    "solving",
    "task_head",
    "timm_backbone",
    "to_nchw",
    "to_nhwc",
    "unscaled_attention",
]
