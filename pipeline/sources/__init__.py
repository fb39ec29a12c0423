"""Sources of labelled images, and the manifest made of them.

options          how a source is read and becomes a manifest
readers          the kinds of source, and what reads each
shard_folder     which files of a folder of shards are read
listing          what a reader found: a row per image, what was read where, what could not be taken
folder           a folder per identity, or one with a pattern in the names
layout           what levels of folders mean: splits, identities, cameras
file_names       which files are images, and what a pattern finds in a name
table            a CSV, TSV or Parquet file that lists images or holds them
image_list       InsightFace's and MXNet's .lst
record_io        InsightFace's .rec and .idx
webdataset       WebDataset's tars
tar_members      names and places of the files in a tar
arrays           .npy and .npz of images and labels
ingest           any of these to one manifest, ordered by content
places           where sources and images are: local, or behind a URL
source_bytes     bytes of a local or remote file by slices
remote_listing   folders and sizes of remote files
split_names      what a source's names of splits mean here
splits           who is trained on and who is held out
alike_names      identities that a person would take for one by their names
bad_images       images that cannot be there, found from sizes alone
row_selection    which rows go into the manifest
"""
