"""Loss functions that are searched for: curves with numbers in them, and a distribution over the numbers that learns.

curve           a loss as a few numbers, and the JSON file that `train.loss=searched:PATH` reads; no torch
spaces          AM-LFS and Search-Softmax: from numbers that are drawn to a curve; no torch
distribution    a Gaussian, draws from it, and the REINFORCE step of its mean; no torch
piecewise       a curve's functions on tensors
"""
