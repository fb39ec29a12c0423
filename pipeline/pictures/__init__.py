"""Pictures of a run, for the report and for montages.

run_images    images of a manifest as thumbnails: read once, kept, a placeholder where one cannot be read
picture_book  which images show an identity, drawn by seed, with words for those who do not see them
round_sample  whole subspaces of a round, drawn by seed, with their identities' means
"""
