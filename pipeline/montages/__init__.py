"""`subspace inspect PATH --images N --out x.png`: images of a run as one picture.

requested    what a montage is to show, by the path and the options that were given
batch        a batch of a plan: identities as rows, groups of look-alikes apart
identities   images of an identity, an image of each of some identities of a subspace
findings     suspected duplicates side by side, images that could not be read, suspects of cleaning
partial_image  the part of a damaged image that can be read
sheet        rows of images with their captions, as data
draw_sheet   the same as a picture
"""
