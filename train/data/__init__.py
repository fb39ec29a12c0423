"""Planned batches: read by step, shared out, decoded, changed at random.

settings       what decodes images, and how training images change at random: settings, without torch
image_input    what a network expects of its images: size, resize rule, mean and std
preprocess_config  the same as settings, without torch
images         an image by its number, from wherever it lies, to a uint8 array
framing        an image of any size to the pixels of a network: its box, resized, cropped or padded
image_files    bytes of many images, in the order in which they lie in their files
remote_files   the same out of remote files, through fsspec
piece_runs     neighbours in a file, which one read gets
jpeg           a plain JPEG straight to the decoder
deep_pixels    pixels of more than 8 bits as 8-bit RGB, or refused
image_index    where the images of a manifest lie, in a file: no memory per image
plan_reader    a plan folder, a batch of image ids a step
plan_sampler   the same as a batch sampler for anybody's data loader
batches        batches of decoded images, made ahead by worker processes
loader_processes  these processes, watched: one that dies or falls silent ends the command
shared_room    memory that they share with the main one, without /dev/shm
pinned_ahead   their batches in pinned memory, copied by a thread
device_copies  each batch on its way to a GPU while the network works on the one before it
augmentation   mirrored and moved images, drawn for each place in a batch
drawn_changes  what else is drawn for the images of a batch: crops, colours, blurs, as numbers
pixel_changes  these changes in torch, on any device
shares         a batch that several processes share, and how their rows come together
"""
