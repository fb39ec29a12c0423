"""What a training shows: figures, time, pictures, trackers.

metrics_log    metrics.jsonl as it is written: one object per logged step
line_window    the steps since the last line, as sums that a checkpoint keeps
metrics_file   metrics.jsonl as it is read; no torch
batch_cosines  cosines of a batch whatever the loss, and the share of images that still teach
phase_clock    seconds of each part of a step, on the CPU or by events of the GPU
phase_seconds  the same, summed up from metrics.jsonl
pictures       similarities of a batch's pairs, and its hardest triplets as a picture
trackers       TensorBoard, Weights & Biases, MLflow behind one interface
open_trackers  the trackers of a training, opened by name and used as one
"""
