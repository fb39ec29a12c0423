"""What trackers (TensorBoard, Weights & Biases, MLflow) are shown of a whole run, on one axis of steps.

training_curves  the log of a training, at its place on the axis of the run
round_figures    figures of every round: how good, how hard, how well cut
mean_projector   means of the validation identities for TensorBoard's projector
"""
