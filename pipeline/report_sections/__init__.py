"""The sections of `subspace report`, a file and a template each, and their order.

    all_sections    the order of the sections, and a run's whole report
    outcome         did it help: start, rounds and baseline, with intervals
    hardness        planned batches against random ones, and the cosines in training
    activity        the active share over time
    curves          loss, validation and learning rate
    subspaces       sizes, r@10, and likeness to the round before
    time_spent      by round, by stage, inside the trainings
    settings        those changed from the defaults, then all
    provenance      fingerprints and commands
    training_steps  the logs of all rounds on one step axis, for the charts

To add one: `NAME.py` with `make_NAME(report) -> Section | None`, `templates/NAME.html.j2`, and its row in `all_sections`.
"""
