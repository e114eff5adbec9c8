"""A linear layer that is one call where inference on a CPU otherwise makes three passes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False, residual: Tensor | None = None
) -> Tensor:
    """x W^T + b, then the exact GELU, or the addition of a residual.

    Without gradients on a CPU it is one call of oneDNN, the operator that torch.compile's CPU code calls too. PyTorch's
    eager path copies the bias over the result, multiplies by MKL (half oneDNN's speed on AMD processors), and takes one
    more pass for the GELU or the addition.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,) or None.
        gelu: apply GELU; not together with `residual`.
        residual: (..., N), added to the result.

    Returns:
        (..., N).
    """
    if _one_call(x, weight):
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'gelu' if gelu else 'none', [], 'none')
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, 'add')
    out = F.linear(x, weight, bias)
    if gelu:
        return F.gelu(out)
    return out if residual is None else residual + out


def _one_call(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's inference operator may be called: it has no gradient and autocast does not know it."""
    return (
        x.device.type == 'cpu'
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu')
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


class Linear(nn.Linear):
    """`nn.Linear` through `linear`.

    Call it without options where a low-rank adapter may wrap it: the wrapper adds its part behind them.
    """

    def forward(self, x: Tensor, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
        """Map (..., K) to (..., N); see `linear`."""
        return linear(x, self.weight, self.bias, gelu, residual)
