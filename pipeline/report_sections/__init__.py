"""The sections of `subspace report`, a file and a template each, and their order.

    all_sections    the order of the sections, and a run's whole report
    outcome         did it help: start, rounds and baseline, with intervals

To add one: `NAME.py` with `make_NAME(report) -> Section | None`, `templates/NAME.html.j2`, and its row in `all_sections`.
"""
