"""Pictures of a run, for the report and for montages.

run_images    images of a manifest as thumbnails: read once, kept, a placeholder where one cannot be read
picture_book  which images show an identity, drawn by seed, with words for those who do not see them
picture_file  the file of a picture that a command draws: where it may lie
round_sample  whole subspaces of a round, drawn by seed, with their identities' means
"""
