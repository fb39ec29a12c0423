"""Losses: over triplets, over pairs, and over classes."""
