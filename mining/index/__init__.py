"""Search among identities: their means first, then the images of the nearest, or either of them alone.

kinds               flat, IVF or HNSW: which one suits so many rows, and why; no FAISS
exact_search        the nearest rows by a scan in blocks, and exact similarities of rows that are named
near_rows           rows with an index over them or none: built, opened, and asked for the nearest
identity_rows       rows of images put in order by identity, and the identities' means
gallery             identities and their images, searched in two stages or one
unknown_threshold   the similarity below which a query is nobody here, for a wanted share of errors
"""
