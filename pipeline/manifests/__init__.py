"""Whole manifests: joined, compared, and tried image by image.

merge        several manifests to one
overlap      identities and images that two manifests share
image_check  which images of a manifest cannot be decoded
"""
