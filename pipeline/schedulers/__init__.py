"""Stages as jobs: on Slurm, on Kubernetes, or on this machine. `scheduler_registry.py`, beside this folder, lists the schedulers.

scheduler            the five calls that every scheduler has: show, start, live, cancel, logs
local                this machine: `subspace run` in the background
slurm                Slurm: the calls of sbatch, squeue and scancel
slurm_scripts        a job as a script for sbatch, from the template slurm_job.sh.j2
kubernetes           Kubernetes: manifests, and apply.sh, which applies them one after another
kubernetes_objects   a job as an object of Kubernetes
pods                 the pods of an object: image, resources, volumes, and what ends them
pod_scripts          what bash does in each pod
job_requests         what the jobs of each stage ask for: nodes, GPUs, cores, memory, hours
jobs                 what is left of a run, as jobs
submission           RUN/jobs/001/: what one `subspace submit` wrote and started
job_states           the states of the jobs of the last submission
submit               what `subspace submit`, `logs` and `cancel` do
"""
