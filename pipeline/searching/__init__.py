"""`subspace index` and `subspace search`: an index of identities in a folder, and answers to queries.

index_request    what `subspace index` is asked for; manifests are embedded on the way
index_cost       what an index will take: time, memory, disk
embedded_manifests  manifests embedded on their way into an index, by parts that resume
embedded_images  images that a query names, embedded
network_of_index  the network that an index was made with, for queries and for more images
index_record     index.json: what an index is, which files are its own, and whether they are as they were written
index_folder     an index opened: its arrays mapped, its names read where they are asked for
row_sources      where the rows of an index come from: files of embeddings, or an index less some identities
write_index      an index made or changed: all rows in order, written beside the old ones, in place by one rename
build_index      what `subspace index` does: an index begun, added to, deleted from
search_request   what `subspace search` is asked for
search_cost      what it will take: time, memory
answer_queries   what `subspace search` does, from queries to answers shown
queries          QUERY of the command line: images, folders and files of embeddings, as embeddings
answers          what was found for each query, with names
write_answers    answers as a table, JSON, Parquet or CSV
answers_page     answers as one HTML file with pictures in it
answers_page.html.j2  its template
thumbnails       pictures small enough to lie in a page
"""
