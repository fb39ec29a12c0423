"""The stages of a run, a file each, and what several of them share."""
