"""`subspace compare RUN RUN...`: what differs in the settings of runs, and what they came to.

compared_run        a run as far as it is: its settings, its networks, how they were trained, their figures
differing_settings  the settings that are not the same in all runs
comparability       whether figures of several runs are of the same identities and images
figures_table       start, best and last network of each run side by side, with intervals
plot                one figure over steps or images for each run
compare_runs        all of that, for people and as JSON
"""
