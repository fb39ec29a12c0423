"""Pictures of a run, for the report and for montages.

run_images  images of a manifest as thumbnails: read once, kept, a placeholder where one cannot be read
picture_file  the file of a picture that a command draws: where it may lie
"""
