"""`subspace search-loss`: a loss found by training candidates side by side and moving towards what validates best.

search          the command: what it needs, its epochs one by one, the curve, the figures and the plot
request         what is asked for: the space, the Gaussian, epochs, candidates and steps
record          RUN/search-loss/search.json: what every finished epoch came to
candidate       one candidate of an epoch: its loss, its training from the epoch's weights, its reward
epoch           all candidates of an epoch, one after another or in processes
plot            RUN/search-loss/curve.svg: t, tau and the rewards
"""
