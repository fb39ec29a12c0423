"""Sources of labelled images, and the manifest made of them.

options          how a source is read and becomes a manifest
readers          the kinds of source, and what reads each
folder           a folder per identity
table            a CSV, TSV or Parquet file that lists images or holds them
ingest           any of these to one manifest, ordered by content
splits           who is trained on and who is held out
bad_images       images that cannot be there, found from sizes alone
image_spool      images inside a source, on their way to the manifest
content_hash     a hash of what a table says
manifest_writer  sorted rows to the manifest file
"""
