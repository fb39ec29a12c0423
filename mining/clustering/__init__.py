"""Identity means, and subspaces of look-alikes made of them.

settings       how identities are cut into subspaces; neither torch nor FAISS
means          images to identity means, in one streaming pass
mean_table     means in a Parquet file, a row group at a time
mean_blocks    means as blocks of equal size, whatever they come in
subspaces      equal subspaces of the means: sample, fit, one pass over all, repair
centroids      the fit: priced k-means, flat or in two levels
plain_kmeans   plain k-means, which the fit begins with: FAISS's on the CPU, torch's on a GPU
candidates     where each identity would go, and lists of subspaces for those near a border
prices         prices on subspaces, which make their sizes equal
assignment     moves that bring every size within its bound; second memberships
neighbors      nearest identities, exactly: inside subspaces, and over all for recall
search         the nearest rows, exactly: FAISS on the CPU, torch on a GPU
on_device      what the host does one way and a GPU another: blocks, counts, sums
lookalikes     nearest identities of some, and the hardest pairs, for a look at them; NumPy alone
tsne           a map of identities in two dimensions; NumPy alone
hardness       how near the nearest other identity of a batch is; no FAISS
quality        similarity inside and between subspaces, and what stays of the last ones
product_speed  seconds of a matrix product here, for estimates
idle_gpus      whether FAISS sees the GPUs that torch sees
duplicates     identities that may be one person under two names
duplicate_trust when such a list can be trusted, and which of it is shown; no torch, no FAISS
"""
