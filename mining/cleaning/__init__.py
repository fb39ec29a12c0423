"""Wrong names, outliers, mixed and duplicate identities, near repeats: what embeddings show to be amiss.

settings            what is looked for, and what is dropped; no torch
identity_blocks     embeddings a block of whole identities at a time
robust_means        means that wrong images hardly move, and how near each image is to the others
strangers           the probability of a stranger, from what strangers look like
better_identity     the identity that an image resembles most, of those that are not its own
mixed_identities    two people under one name: cuts in two, judged by pairs put together on purpose
near_repeats        nearly the same picture twice, within an identity and in two
overfit             the paper's removal: what a classifier cannot fit
suspects            all of these in turn
keep_table          which images stay, as a table that later stages read
"""
