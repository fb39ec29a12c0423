"""`subspace doctor`: what this machine and its packages are good for, and what is wrong or slow.

finding     what every check says: a name, a value, perhaps advice
versions    Python, torch, FAISS and the packages below them
gpus        GPUs as the driver, torch and FAISS see them
machine     cores, memory, disk, shared memory, the image decoder
speeds      short runs of a matrix product and of k-means, on each device
diagnosis   all checks in order
"""
