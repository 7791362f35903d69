"""How the tasks' gradients on the shared parameters compare: the diagnostics used by critics of weighting schemes.

Sources: magnitude similarity, Yu et al. (NeurIPS 2020, definition 2); condition number, Senushkin et al. (CVPR 2023);
both as predictors of good fixed weights, AutoScale (arXiv 2508.13979).
"""

from itertools import combinations

import torch
from torch import Tensor


def cosines(gramian: Tensor) -> Tensor:
    """Return the cosines (k, k) between gradients from their Gramian; 0 where a gradient is zero."""
    norms = gramian.diagonal().sqrt()
    return torch.where(gramian == 0, 0.0, gramian / torch.outer(norms, norms).clamp(min=1e-300))


def magnitude_similarity(gramian: Tensor) -> float:
    """Return the mean over pairs of 2 |a| |b| / (|a|^2 + |b|^2): 1 for equal lengths; NaN for a single task."""
    squares = gramian.diagonal()
    found = [
        2 * (squares[i] * squares[j]).sqrt() / (squares[i] + squares[j]).clamp(min=1e-300)
        for i, j in combinations(range(len(squares)), 2)
    ]
    return float(torch.stack(found).mean()) if found else float("nan")


def condition_number(gramian: Tensor) -> float:
    """Return the ratio of the largest to the smallest singular value of J that is not zero up to rounding.

    It is 1 for orthogonal gradients of equal length; the papers consider values up to 10 healthy. NaN where all
    gradients are zero.
    """
    values = torch.linalg.eigvalsh(gramian)
    # Gradients are in float32: the square of its resolution is what eigenvalues of J J^T have of rounding.
    kept = values[values > len(values) * torch.finfo(torch.float32).eps ** 2 * values.max()]
    return float((kept.max() / kept.min()).sqrt()) if len(kept) else float("nan")
