"""Planned batches: read by step, decoded, augmented."""
