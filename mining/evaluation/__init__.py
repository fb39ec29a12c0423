"""Metrics of identification and verification, with their intervals."""
