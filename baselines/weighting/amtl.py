"""Achievement-based training progress balancing."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import EpochMeans, LossScheme, PluginParameters, SchemeContext, numbers_by_task, scheme


@scheme("amtl")
class AMTL(LossScheme):
    """Achievement-based multi-task loss (Yun and Cho, ICCV 2023): tasks far from their potential weigh most.

    With a_t the running mean over epochs of an accuracy and A_t the accuracy of a single-task network: w = softmax of
    max(0, 1 - a_t / ((1 + margin) A_t))^focus, equal in the first epoch. total = k prod_t l_t^(w_t), a weighted
    geometric mean; the factor k makes the weights of equal losses k w_t.

    Caveat: a scheme sees only losses. As in `dtp`, exp(-L_t) replaces the accuracy, L_t being the epoch's mean loss.
    A_t must be given in that unit, in `potential`; the default is 1, the value of a perfect network. The authors' code
    lacks the max, so that a task beyond its potential gains weight again. Needs positive losses.
    """

    idle_epochs = 1

    class Parameters(PluginParameters):
        potential: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = Field(
            None, description="exp(-loss) of every single-task network on training images; null: 1"
        )
        focus: float = Field(2.0, gt=0, description="how strongly tasks far from their potential are preferred")
        margin: float = Field(0.05, ge=0, description="by how much a potential may be exceeded")
        newest: float = Field(0.1, gt=0, le=1, description="share of the newest epoch in the running mean")

    potential: Tensor
    achieved: Tensor

    def __init__(self, context: SchemeContext, parameters: "AMTL.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.means = EpochMeans(tasks)
        given = numbers_by_task(self, "potential", default=1.0)
        self.register_buffer("potential", torch.tensor(given, dtype=torch.float64))
        self.register_buffer("achieved", torch.full((tasks,), torch.nan, dtype=torch.float64))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        self.means.add(losses, present)
        reached = self.achieved[present] / ((1 + self.options.margin) * self.potential[present])
        missing = (1 - reached).clamp(min=0).nan_to_num(nan=0.0) ** self.options.focus
        weights = torch.softmax(missing, 0).to(losses)
        return len(losses) * (weights * losses.log()).sum().exp()

    def end_epoch(self) -> None:
        """Update the running means; that of an absent task does not change."""
        newest = torch.exp(-self.means.close())
        moved = self.options.newest * newest + (1 - self.options.newest) * self.achieved
        first = torch.where(self.achieved.isnan(), newest, moved)
        self.achieved = torch.where(newest.isnan(), self.achieved, first)
