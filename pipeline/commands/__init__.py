"""The commands of the command line, by what they work on.

parameters  options that commands share, and how a command opens its run
data        ingest and init: from images to a run
stages      one command a stage, made from the table of stages
evaluation  eval: networks on the test identities, or by a protocol of the field
learning_rate  lr: short trials of a run at several rates
runs        run, status, inspect, demo
models      export: a network as a file for other programs
jobs        submit, logs, cancel
machine     doctor: what this machine is good for
"""
