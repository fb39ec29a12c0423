"""`subspace embed`: embeddings of any images, by any network, in a file; and `embed(network, images)` for notebooks.

request           what is asked for, checked without torch
opened_network    a run, a checkpoint or a spec of a network, opened
listed_images     any source, whether it says identities or not, as a list of images on disk
embedding_parts   the parts of the work: which there are, which are missing, which images are in them
kept_images       images out of tables, in a file that stays
embed_images      the work: images through the network, part by part, and all parts to one file
joined_parts      all parts in one file, and what none could read beside it
command           all of it, as the command does it
embed_in_memory   the function for notebooks
"""
