"""Lists of other people's benchmarks: pairs of images and templates, each checked and said what was read.

listed_images   images that a list names or holds, as a manifest; a list of pairs of them
insightface_bin InsightFace's .bin: pairs of encoded images in a pickle
plain_pickle    pickles of plain values, read without running them
pickled_calls   what calls in a pickle stand for, without calling anything
lfw_pairs       LFW's pairs.txt and pairsDevTest.txt
pair_table      a CSV or Parquet file of pairs
template_lists  IJB's lists of templates, of pairs of them, and of galleries
read_pairs      which reader a list of pairs gets, by its name
"""
