"""Gradient schemes whose mathematics comes from torchjd."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.core.randomness import seeded
from mtcp.weighting.base import SchemeContext
from mtcp.weighting.gradients import GradientScheme, GramianScheme, JacobianScheme, normalised, solving


class _Library(GradientScheme):
    """Builds torchjd's part once, and refuses there and then where a solver's package is missing."""

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        try:
            self.library = self.build()
        except ImportError as error:
            raise UserError(
                f"scheme '{self.name}' needs a solver that is not installed ({error}): pip install 'mtcp[gpl]'"
            ) from error

    @abstractmethod
    def build(self) -> nn.Module:
        """Return torchjd's aggregator or weighting, free of state from step to step."""


class LibraryAggregator(_Library, JacobianScheme):
    """A scheme around one of torchjd's aggregators, which takes J; its random draws come from the scheme's stream."""

    def combine(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self), seeded(self.step_seed()):
            return self.library(jacobian)


class LibraryWeighting(_Library, GramianScheme):
    """A scheme around one of torchjd's weightings, which takes the Gramian.

    It gets the Gramian of gradients of mean squared norm 1: torchjd's tolerances are absolute, and small gradients
    would fall below them, which leaves the coefficients equal without a word.
    """

    #: Whether torchjd's coefficients are those of a mean, to be multiplied by k.
    of_mean: ClassVar[bool] = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self), seeded(self.step_seed()):
            weights = self.library(normalised(gramian))
        return len(weights) * weights if self.of_mean else weights
