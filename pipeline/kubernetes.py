"""Kubernetes."""

from __future__ import annotations


def text(jobs, run, config) -> str:
    raise NotImplementedError


def write(jobs, run, config):
    raise NotImplementedError
