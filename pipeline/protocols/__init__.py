"""`subspace eval --protocol`: a run, a checkpoint or a file of embeddings, evaluated as the field does.

registry          THE table of protocols: what each needs, what computes it, what it writes
request           what was asked for
evaluate_by       opens what is named, does one protocol after another, writes and says what each comes to
opening           a run, a checkpoint or a file of embeddings?
evaluated_images  the images that a protocol is about, whatever their embeddings come from
table_images      with embeddings in a file
network_images    with embeddings by a network
sides             who is looked for, and who is looked through
planned           work that is ready, and what it will take
outcome           figures, what they rest on, tables and curves
outcome_folder    the folder that they are written to
plots             PNG files, by matplotlib
verification      all pairs of probes and gallery images
pairs             pairs of a list, and its folds
identification    one gallery image of each identity, and strangers
retrieval         rankings of all gallery images
templates         IJB's templates, 1:1 and 1:N
template_curves   curves of the latter: Rank-k and DIR@FAR
"""
