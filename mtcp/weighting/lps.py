"""LPS, the loss prioritisation scheme of MT-CP, in three variants."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.core.plugins import PluginParameters, scheme
from mtcp.weighting.base import EpochMeans, LossScheme, SchemeContext


def lps_weights(previous: Tensor | None, current: Tensor, kappa: float) -> Tensor:
    """Weights for the next epoch from epoch means of the tasks' losses.

    With L_t the mean loss of task t over an epoch and L their sum: after the first epoch w_t = L / L_t; later
    r_t = (L_t / L_t') / (L / L'), where the prime marks the previous epoch, mu = mean_t r_t and
    w_t = mu + kappa (r_t - mu). Where kappa > 1, a task whose loss falls fast enough gets a negative weight.

    `previous`, `current`: (T,); `previous` is None after the first epoch. Returns (T,).
    """
    if previous is None:
        return current.sum() / current
    ratios = (current / previous) / (current.sum() / previous.sum())
    mean = ratios.mean()
    return mean + kappa * (ratios - mean)


@scheme("lps")
class LPS(LossScheme):
    """Loss prioritisation (Fontana, Spratling and Shi, WACV 2025), as intended: switched on, and unbounded below.

    total = sum_t w_t log(1 + l_t), with the weights of the last finished epoch (`lps_weights`), and 1 in the first
    epoch. The released code computes these weights, then overwrites the weighted total with the plain sum.

    Caveat: at kappa 7.5, a task whose ratio is more than 13.3 % below the mean gets a negative weight, and its loss is
    ascended; the flag `negative_weights` reports it. Kappa depends on the benchmark: 7.5 on NYUD, 1.6 on PASCAL.
    """

    idle_epochs = 1

    previous: Tensor
    weights: Tensor

    class Parameters(PluginParameters):
        kappa: float = Field(1.6, gt=0, description="how far weights spread about their mean")
        log_projection: bool = Field(True, description="each loss enters as log(1 + l)")

    def __init__(self, context: SchemeContext, parameters: "LPS.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.means = EpochMeans(tasks)
        self.register_buffer("previous", torch.full((tasks,), torch.nan, dtype=torch.float64))
        self.register_buffer("weights", torch.ones(tasks, dtype=torch.float64))

    def projected(self, losses: Tensor) -> Tensor:
        """Return log(1 + l), or l where `log_projection` is off."""
        return torch.log1p(losses) if self.options.log_projection else losses

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        projected = self.projected(losses)
        self.means.add(projected, present)
        return (self.weights[present].to(projected) * projected).sum()

    def end_epoch(self) -> None:
        """Set the next epoch's weights; a task absent from the whole epoch keeps its last mean, so L_t / L_t' = 1."""
        current = self.means.close()
        current = torch.where(current.isnan(), self.previous, current)
        seen = current.isfinite()
        both = seen & self.previous.isfinite()
        if both.any():
            self.weights[both] = self.bounded(lps_weights(self.previous[both], current[both], self.options.kappa))
        elif seen.any():
            self.weights[seen] = lps_weights(None, current[seen], self.options.kappa)
        self.previous = current

    def bounded(self, weights: Tensor) -> Tensor:
        """Return the weights as they are; `lps_clipped` bounds them."""
        return weights


@scheme("lps_clipped")
class ClippedLPS(LPS):
    """LPS with negative weights set to 0, so that no task's loss is ascended.

    total = sum_t max(w_t, 0) log(1 + l_t); everything else is as in `lps`.

    Caveat: the released code does not clip; whether the authors' experiments did is not known.
    """

    def bounded(self, weights: Tensor) -> Tensor:
        return weights.clamp(min=0)


@scheme("lps_as_released")
class ReleasedLPS(LPS):
    """LPS as in the released code: weights are computed but never used, and losses are not projected.

    total = sum_t l_t. The history shows the weights as `unused_weight_<task>`; training equals `equal`.

    Caveat: this is a bug of the released code, kept for reproduction (ledger rows 1 and 2), not a scheme to choose.
    """

    moved_by = "nothing"

    # Without LPS's `log_projection`.
    class Parameters(PluginParameters):  # pyright: ignore[reportIncompatibleVariableOverride]
        kappa: float = Field(1.6, gt=0, description="how far the unused weights spread about their mean")

    def projected(self, losses: Tensor) -> Tensor:
        return losses

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        super().total(losses, present)
        return losses.sum()

    def record(self) -> dict[str, float]:
        unused = dict(zip(self.tasks, self.weights.tolist(), strict=True))
        return {**super().record(), **{f"unused_weight_{task}": weight for task, weight in unused.items()}}
