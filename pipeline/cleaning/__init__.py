"""`subspace clean`: which images of a run are not what their names say, found by its network; no image is touched.

training_embeddings  the embeddings of all training images: those that the extraction kept, or made for this
clean                the command: what it needs and takes, the search, keep.parquet and suspects.parquet
suspects_table       what was found, as tables and in words
"""
