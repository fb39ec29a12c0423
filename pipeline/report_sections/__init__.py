"""The sections of `subspace report`, a file and a template each, and their order.

    all_sections    the order of the sections, and a run's whole report
    outcome         did it help: start, rounds and baseline, with intervals
    lookalikes      the hardest pairs, and batches beside random ones, in pictures
    hardness        planned batches against random ones, and the cosines in training
    activity        the active share over time
    curves          loss, validation and learning rate
    identity_map    identities in two dimensions, with the pictures and neighbours of each
    subspaces       sizes, r@10, and likeness to the round before
    mistakes        the worst mistakes of the evaluation, in pictures
    suspects        suspected duplicates, suspects of cleaning, unread files, in pictures
    time_spent      by round, by stage, inside the trainings
    settings        those changed from the defaults, then all
    provenance      fingerprints and commands
    shown           an identity with its pictures, and what is said where there are none
    training_steps  the logs of all rounds on one step axis, for the charts

To add one: `NAME.py` with `make_NAME(report) -> Section | None`, `templates/NAME.html.j2`, and its row in `all_sections`.
"""
