"""Dynamic weight averaging."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import EpochMeans, LossScheme, PluginParameters, SchemeContext, scheme


@scheme("dwa")
class DWA(LossScheme):
    """Dynamic weight averaging (Liu, Johns and Davison, CVPR 2019, equation 7).

    With L_t(e) the mean loss of task t over epoch e: r_t = L_t(e-1) / L_t(e-2) and
    w_t = T exp(r_t / tau) / sum_j exp(r_j / tau) for T tasks; 1 in the first two epochs.

    Caveat: a loss near 0 makes the ratio, and with it the weight, jump.
    """

    idle_epochs = 2

    previous: Tensor
    weights: Tensor

    class Parameters(PluginParameters):
        temperature: float = Field(2.0, gt=0, description="tau; larger is more equal")

    def __init__(self, context: SchemeContext, parameters: "DWA.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.means = EpochMeans(tasks)
        self.register_buffer("previous", torch.full((tasks,), torch.nan, dtype=torch.float64))
        self.register_buffer("weights", torch.ones(tasks, dtype=torch.float64))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.means.add(losses, present)
        return (self.weights[present].to(losses) * losses).sum()

    def end_epoch(self) -> None:
        """Set the next epoch's weights.

        An absent task's ratio is 1; when it is back, its loss is compared with that of the last epoch that had it.
        """
        current = self.means.close()
        if self.epochs >= 1:
            ratios = (current / self.previous).nan_to_num(nan=1.0)
            self.weights = len(self.tasks) * torch.softmax(ratios / self.options.temperature, 0)
        self.previous = torch.where(current.isnan(), self.previous, current)
