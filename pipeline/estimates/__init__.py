"""How long work will take, measured on this machine and said in one form; no torch.

estimate     the line in which it is said
imports      what loading torch takes
row_speed    what goes over many rows of a table, timed on some of them
"""
