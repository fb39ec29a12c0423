"""`subspace export`: a trained network as a file for other programs, checked before it is written.

request             what is asked for: formats, preprocessing, opset, int8; without torch
chosen_checkpoint   which checkpoint of a run is meant, and why; without torch
traced_program      the network with or without its preprocessing, as a torch.export program of any batch size
agreement           the same images through the network and through a file: the largest difference
onnx_file           an ONNX file: made, written, run
sample_images       images of the run's manifest to measure a file on
int8_file           ONNX with weights and activations of 8 bits, and what that costs
weights_file        safetensors: the weights alone, what they are in the header
torch_file          a torch.export program (.pt2), which torch runs without this package
frozen_file         networks that came as a file leave as the same file
description         what every file says of itself, as strings by key
figures             data and figures of a checkpoint, from the files of its run
trained_on          whether a manifest is still the one of its training, and which held-out identities it has learned
model_card          model.md, from the template model_card.md.j2
write_export        the folder with all of it, whole or absent
"""
