"""What each margin loss does to the cosines, as plain functions.

Shapes: B images in a batch, C classes. own_B1 holds c_y, the cosine to the true class; cosine_BC all of
them. Angles are in radians. Every target is at most own_B1 and grows with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosface_target(own_B1: Tensor, margin: float) -> Tensor:
    """c_y - m."""
    return own_B1 - margin


def widened_angle(own_B1: Tensor, margin: float) -> Tensor:
    """cos(theta_y + m), by the addition theorem: an arc cosine would have an infinite slope at cos = +-1."""
    # Rounding puts cosines at and beyond +-1. There the sine stays constant instead of having a slope of
    # infinity; every other float is far enough from +-1 for a finite one.
    floor = torch.finfo(own_B1.dtype).eps ** 2
    sine_B1 = ((1 - own_B1) * (1 + own_B1)).clamp(min=floor).sqrt()
    return own_B1 * math.cos(margin) - sine_B1 * math.sin(margin)


def arcface_target(own_B1: Tensor, margin: float) -> Tensor:
    """cos(theta_y + m); where theta_y + m passes pi and the cosine would rise again, c_y - m·sin(pi - m)."""
    return torch.where(
        own_B1 > math.cos(math.pi - margin),
        widened_angle(own_B1, margin),
        own_B1 - margin * math.sin(math.pi - margin),
    )


def fixed_emphasis(cosine_BC: Tensor, t: float) -> Tensor:
    """c_k + t."""
    return cosine_BC + t


def adaptive_emphasis(cosine_BC: Tensor, t: float) -> Tensor:
    """(1 + t)·c_k + t: the more similar the wrong class, the more is added."""
    return (1 + t) * cosine_BC + t


def curricular_emphasis(cosine_BC: Tensor, t: Tensor) -> Tensor:
    """c_k·(t + c_k): hard classes count less than easy ones while t is near 0, and more when it has grown."""
    return cosine_BC * (t + cosine_BC)


def circle_own(own_B1: Tensor, margin: float) -> Tensor:
    """a_p·(s_p - (1 - m)) with the weight a_p = [1 + m - s_p]+ held constant."""
    return (1 + margin - own_B1.detach()).relu() * (own_B1 - (1 - margin))


def circle_others(cosine_BC: Tensor, margin: float) -> Tensor:
    """a_n·(s_n - m) with the weight a_n = [s_n + m]+ held constant."""
    return (cosine_BC.detach() + margin).relu() * (cosine_BC - margin)
