"""Lets other projects import PyPI's torchvision beside a torch without CUDA; Python imports a module of this name first.

torchvision's library wants CUDA's there, and its Python then asks for operators that nobody registered.
"""

import torch

_operators = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
