"""How long work will take, measured on this machine and said in one form; no torch.

estimate     the line in which it is said
metric_speed  metrics of an examination, with their intervals
imports      what loading torch takes
row_speed    what goes over many rows of a table, timed on some of them
"""
