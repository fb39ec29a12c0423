"""`subspace init`: what a new run begins with. The recipes themselves are YAML, in `pipeline/recipes/`.

initialize     writes subspace.yaml, and says what was found and chosen
choices        settings that the data or the network asks for
known_recipes  known methods as settings, with their sources and figures
network_facts  what a network takes, gives and has for a head
"""
