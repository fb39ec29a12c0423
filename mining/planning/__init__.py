"""Subspaces to batches: who is in which, and with which images."""
