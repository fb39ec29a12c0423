"""`subspace index` and `subspace search`: an index of identities in a folder, and answers to queries.

index_record     index.json: what an index is, which files are its own, and whether they are as they were written
index_folder     an index opened: its arrays mapped, its names read where they are asked for
row_sources      where the rows of an index come from: files of embeddings, or an index less some identities
write_index      an index made or changed: all rows in order, written beside the old ones, in place by one rename
queries          QUERY of the command line: images, folders and files of embeddings, as embeddings
answers          what was found for each query, with names
write_answers    answers as a table, JSON, Parquet or CSV
answers_page     answers as one HTML file with pictures in it
thumbnails       pictures small enough to lie in a page
"""
