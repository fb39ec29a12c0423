"""The functions of a loss curve on tensors."""

from __future__ import annotations

from torch import Tensor

from .curve import LEAST_SHARE

LEAST_LOG_P = -40.0
"""Log of the lowest probability that is divided by: the square of 1 / p, in the gradient, is still a float32."""


def piecewise_linear(x: Tensor, slopes_M: Tensor, biases_M: Tensor, low: float, high: float) -> Tensor:
    """slopes[i]·x + biases[i], i the bin of x among M equal ones between `low` and `high`; beyond them the end's.

    >>> piecewise_linear(torch.tensor([-0.5, 0.5]), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.1]), -1, 1)
    tensor([-0.5000,  1.1000])
    """
    bins = len(slopes_M)
    bin_of = ((x.detach() - low) * (bins / (high - low))).floor().long().clamp(0, bins - 1)
    return slopes_M[bin_of] * x + biases_M[bin_of]


def log_piecewise(log_p: Tensor, slopes_M: Tensor, biases_M: Tensor) -> Tensor:
    """log tau(p) of probabilities that are given as logarithms, tau piecewise linear on M equal bins of 0 to 1.

    tau(p) = p·(slope + bias / p), and the logarithm of p stays what it was, so tau(p) = p loses nothing, however small p.

    >>> log_piecewise(torch.tensor([-200.0]), torch.ones(1), torch.zeros(1))
    tensor([-200.])
    """
    p = log_p.clamp(min=LEAST_LOG_P).exp()
    bins = len(slopes_M)
    bin_of = (p.detach() * bins).floor().long().clamp(0, bins - 1)
    share = slopes_M[bin_of] + biases_M[bin_of] / p
    return log_p + share.clamp(min=LEAST_SHARE).log()
