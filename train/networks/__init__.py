"""Networks that turn images into embeddings.

registry          the networks that have a name or a prefix, as data, without torch
backbone          what every network is: uint8 images in, unit vectors out
building          from a name to a network, its weights drawn by seed or out of a file
weights_file      published weights, out of a file into a network
head              which parameters of a network are its head
sizes             image sizes that a network of a fixed stride takes
small             for 32 px images and two CPU cores
iresnet           IResNet-18 to -200, which face-recognition weights are published for
mobilefacenet     MobileFaceNet, by InsightFace's names
facenet           NN1 to NN4, NNS1 and NNS2 of FaceNet's tables
insightface_file  `insightface:FILE`: the network that a file has weights of
timm_networks     `timm:NAME`
user_modules      networks of the user's own, `python:module:function`
frozen            networks that are a program in a file, and that nothing trains
onnx_file         `onnx:FILE`
weights_fingerprint  a network by the content of its weights and its preprocessing
torch_file        `torchscript:FILE` and `exported:FILE`
"""
