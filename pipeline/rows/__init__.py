"""Rows of images on their way to a manifest: in scratch files, put in order, written.

row_scratch      tables one after another in a file without a name
row_order        rows in the manifest's order, a range of identities at a time
manifest_writer  sorted rows to the manifest file
content_hash     a hash of what a table says
ingest_summary   what an ingest made, for a person or a program
image_spool      images inside a source, on their way to the manifest
image_digests    hashes of the bytes of images, by several threads
image_repeats    images that are there more than once: same bytes or same place
"""
