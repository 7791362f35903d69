"""Performance-informed fair gradients."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import EpochMeans, GramianScheme, SchemeContext, numbers_by_task, scheme, solvers, solving


@scheme("pivrg")
class PIVRG(GramianScheme):
    """Performance-informed variance reduction (Qin et al., CVPR 2025): fair gains, weighted by how far tasks lag.

    Let r_t be the percentage by which task t is worse than its single-task network, 0 while unknown. The weights are
    w = k softmax(r / temperature) with temperature = max((max r - min r) / log(bound), least_temperature), so no two
    weights differ by more than the factor `bound`. update = sum_t c_t g_t with c > 0 and G c = (w / c)^(1/2), entry by
    entry: `fairgrad` with claims w.

    Caveat: the authors' code computes r from metrics on the training images, relative to single-task networks. A scheme
    sees only losses: r_t is 100 (L_t / a_t - 1), with L_t the last epoch's mean loss and a_t the single-task network's
    loss in `alone` or, by default, the first epoch's. Where there is no solution, the run ends as diverged. That code
    also multiplies the update by k and clips it to norm 1.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        alone: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
            None, description="mean training loss of every single-task network; null: that of the first epoch"
        )
        bound: float = Field(2.0, gt=1, description="most that two weights may differ by, as a factor")
        least_temperature: float = Field(10.0, gt=0, description="of the softmax, in percentage points")

    alone: Tensor
    lag: Tensor

    def __init__(self, context: SchemeContext, parameters: "PIVRG.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.means = EpochMeans(tasks)
        given = numbers_by_task(self, "alone", default=math.nan)
        self.register_buffer("alone", torch.tensor(given, dtype=torch.float64))
        self.register_buffer("lag", torch.zeros(tasks, dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        self.means.add(losses, present)
        lag = self.lag[present].cpu()
        temperature = max(float(lag.max() - lag.min()) / math.log(self.options.bound), self.options.least_temperature)
        claims = len(lag) * torch.softmax(lag / temperature, 0)
        with solving(self):
            return torch.from_numpy(solvers.fair_shares(gramian.numpy(), 2.0, claims.numpy()))

    def end_epoch(self) -> None:
        """Record how far every task lags behind; the value of an absent task does not change."""
        means = self.means.close()
        self.alone = torch.where(self.alone.isnan(), means, self.alone)
        lag = 100 * (means / self.alone - 1)
        self.lag = torch.where(lag.isfinite(), lag, self.lag)
