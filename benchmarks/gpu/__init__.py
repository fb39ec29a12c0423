"""The parts of `benchmarks/gpu_check.py`: what can be measured of a GPU machine in five minutes."""
