"""The stages of a run, a file each, and what several of them share.

graph                 the table of stages: order, inputs, outputs, commands. Everything else reads it
stage                 one stage at work: done, stale or to do; its marker and fingerprint
context               what every stage is given: run, settings, manifest, options, round
pretrain              the starting network
extract               identity means, in parts that resume and shard
extraction            the work of an extraction
parts                 the parts of an extraction: which there are, which are missing
extraction_processes  an extraction by several processes of this machine
refresh               means without an extraction, as they ran in the training before
cluster               means to subspaces
plan                  subspaces to batches
hardness              how hard the batches of a plan are, beside random ones
train                 one round of training
round_training        that training, put together: network, loss, batches, labels
training              the shell of the training loop: progress, log, checkpoints, a clean stop
training_processes    several processes that train as one
training_estimate     what a training will take, said before it begins
saved_states          checkpoints on the way: what a training resumes from or goes back to
evaluate              validation and test of a network
examination           the work of an evaluation
held_out              the identities that a network is examined on
round_tables          what later stages read of a round
"""
