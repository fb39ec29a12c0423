"""What `subspace inspect` says of any file or folder of a run, for a person or as JSON.

summarize      which reader a path gets: `summarize_path`
summary        what a reader finds: facts for programs, aligned lines for people
histograms     how many values fall in which range, and bars of that in plain text
on_terminal    the same summary in colour, with bars, for a terminal: rich draws it
without_pandas Arrow without pandas, which takes half of the time of a short command
tables         Parquet: manifest, identities, embeddings, quarantine, subspaces, centroids, duplicates
embedding_file Parquet: embeddings of images, as `subspace embed` writes them
plan_table     Parquet: a batch plan, one file or all of a folder
checkpoint     a checkpoint folder, and its meta.json
network        a network by its spec, as --model takes it
weights        safetensors: the tensors, by the header alone
documents      JSON: completion markers, evaluations, best.json, trackers.json, submission.json
training_log   metrics.jsonl
settings_file  subspace.yaml and overrides.json; YAML objects for Kubernetes
side_files     .lock, images.index, TensorBoard's event files, logs, job scripts
folders        a table of what lies in a folder
"""
