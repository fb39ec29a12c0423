"""Subspaces to batches: which identities and which images every training step sees.

settings          what a batch is made of, and the named strategies
batch_plan        the plan, as a pure function of counts, settings, seed and round
seed_turns        a pass over all identities: who seeds which batch, in which order
distinct_batches  no identity twice in a batch, none more often than allowed
pairs_apart       pairs of identities that no batch may hold both of
image_decks       every image of an identity is used before any comes again
positive_pairs    which identities give a batch two images, and in how many batches one does
plan_table        the plan as a folder of Parquet files
shards            which files hold the images of which subspace, for staging
"""
