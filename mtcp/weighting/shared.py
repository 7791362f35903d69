"""The shared parameters of a network, and the tasks' gradients with respect to them.

With J the (k, P) matrix whose rows are the gradients of the k present tasks' losses with respect to the P entries of
the shared parameters, the Gramian is G = J J^T (k, k).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

#: Matches the name of a parameter of a task's head: heads.depth.0.weight, branches.depth.aux_head1.1.bias.
_HEAD: Final = re.compile(r"(^|[._])heads?\d*\.")


def reached(output: Tensor) -> set[Tensor]:
    """Return the leaves (parameters) in the graph of `output`."""
    leaves: set[Tensor] = set()
    seen, stack = set(), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves.add(leaf)
        stack.extend(child for child, _ in node.next_functions)
    return leaves


def reachability(network: nn.Module, size: tuple[int, int]) -> dict[str, set[Tensor]]:
    """Return, for every task, the parameters that its final output depends on.

    Runs one eager forward pass of a blank image in evaluation mode, which leaves running statistics unchanged. Must run
    before compilation, after which every parameter seems to affect every output.
    """
    device = next(network.parameters()).device
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.enable_grad():
            outputs = network(torch.zeros(1, 3, *size, device=device))
    finally:
        for module, training in modes.items():
            module.training = training
    return {task: reached(output["final"]) for task, output in outputs.items()}


def head_parameters(network: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of the tasks' heads, found by a name part such as `head`, `heads` or `aux_head1`."""
    return {parameter for name, parameter in network.named_parameters() if _HEAD.search(name)}


def shared_parameters_of(network: nn.Module, size: tuple[int, int], which: str) -> list[nn.Parameter]:
    """Return the trainable shared parameters that affect a final output, in the network's order.

    `encoder`: those upstream of the representation; `all_shared`: those that affect the outputs of two or more tasks;
    `all_but_heads`: those outside the tasks' heads.
    """
    reach = list(reachability(network, size).values())
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if which == "encoder":
        part = getattr(network, "encoder", None)
        encoder = set(part.parameters()) if part is not None else set()
        return [p for p in wanted if p in encoder and any(p in leaves for leaves in reach)]
    if which == "all_but_heads":
        heads = head_parameters(network)
        return [p for p in wanted if p not in heads and any(p in leaves for leaves in reach)]
    return [p for p in wanted if sum(p in leaves for leaves in reach) >= 2]


def jacobian_of(losses: Sequence[Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """Return the gradients (k, P) of `losses` with respect to `tensors`, in float32.

    Computed one task at a time, so that only one backward pass's buffers exist at once.
    """
    rows = torch.empty(len(losses), sum(tensor.numel() for tensor in tensors), device=tensors[0].device)
    for row, loss in zip(rows, losses, strict=True):
        row.copy_(flat(torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True), tensors))
    return rows


def gramian_of(jacobian: Tensor) -> Tensor:
    """Return J J^T (k, k) for J (k, P), summed in float64, on the CPU."""
    return products_of(jacobian, jacobian)


def products_of(one: Tensor, other: Tensor) -> Tensor:
    """Return the products <a_i, b_j> (k, k) of the rows of two Jacobians (k, P), summed in float64, on the CPU."""
    # In pieces whose float64 copies fit a processor's cache, which is eight times faster; a GPU needs few large pieces.
    columns = 2**15 if one.is_cpu else 2**20
    total = torch.zeros(len(one), len(other), dtype=torch.float64, device=one.device)
    for piece, beside in zip(one.split(columns, dim=1), other.split(columns, dim=1), strict=True):
        exact = piece.double()
        total += exact @ (exact if other is one else beside.double()).T
    return total.cpu()


def flat(gradients: Iterable[Tensor | None], tensors: Iterable[Tensor]) -> Tensor:
    """Return the gradients of `tensors` as one float32 vector (P,), with zeros where a gradient is None."""
    pairs = zip(gradients, tensors, strict=True)
    return torch.cat([torch.zeros_like(t).flatten() if g is None else g.flatten() for g, t in pairs]).float()


def pieces_of(vector: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return `vector` (P,) split into pieces with the shapes and dtypes of `tensors`."""
    sizes = [tensor.numel() for tensor in tensors]
    return [piece.view_as(t).to(t.dtype) for piece, t in zip(vector.split(sizes), tensors, strict=True)]


def accumulate(parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor | None], scale: float) -> None:
    """Add `scale` x gradient to each parameter's `.grad`; a gradient of None changes nothing.

    A new `.grad` gets the parameter's strides, as in autograd: fused optimisers read both as flat memory.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            parameter.grad = torch.mul(gradient, scale, out=torch.empty_like(parameter))
        else:
            parameter.grad.add_(gradient, alpha=scale)
