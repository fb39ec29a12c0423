"""Stages as jobs: on Slurm, on Kubernetes, or on this machine."""
