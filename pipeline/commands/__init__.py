"""The commands of the command line, by what they work on.

parameters  options that commands share, and how a command opens its run
data        ingest and init: from images to a run
embeddings  embed: embeddings of any images as a file
stages      one command a stage, made from the table of stages
evaluation  eval: networks on the test identities, or by a protocol of the field
cleaning    clean: wrong names and near repeats among the training images
learning_rate  lr: short trials of a run at several rates
loss_search  search-loss: a loss found by candidates that train side by side
runs        run, status, demo
reports     report: a run as one HTML page
inspection  inspect and compare: what is in files and runs
models      export: a network as a file for other programs
searching   index and search: who is most similar
jobs        submit, logs, cancel
machine     doctor: what this machine is good for
"""
