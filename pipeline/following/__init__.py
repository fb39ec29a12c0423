"""A run as somebody follows it: what it is at, how far, until when; no torch.

at_work      the command and the stage at work, how far they are and when they end
look         all of it at one moment, for `subspace status`
run_text     a run's status as text of at most 100 columns
watch        the same again and again, until the run ends
verification every file of the finished stages against its checksum, for `subspace status --verify`
"""
