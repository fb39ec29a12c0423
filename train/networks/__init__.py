"""Networks that turn images into embeddings.

registry       the networks that have a name, as data, without torch
backbone       what every network is: uint8 images in, unit vectors out
building       from a name to a network, its weights drawn by seed
user_modules   networks of the user's own, `python:module:function`
small          for 32 px images and two CPU cores
iresnet        IResNet-18 to -100, which face-recognition weights are published for
sizes          image sizes that a network of a fixed stride takes
head           which parameters of a network are its head
"""
