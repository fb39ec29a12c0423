"""The frame of `subspace report`: a run as one HTML file that opens from disk; its sections are in `report_sections`.

    section         what a section is, and its HTML out of a template and plain data
    chart           a chart: its Vega-Lite spec, and the words and figures that say the same without it
    chart_kinds     lines over steps, dots over rounds, bars, as specs
    run_report      the run that a report is of: folders, settings, manifest, seed
    page            the page around the sections: contents, style, themes, script, and Vega itself
    write_report    the sections of a run to a file

Everything that a template prints is escaped, and controls of terminals are spelt out; data for scripts is JSON without
any `<`. The page loads nothing: its policy (CSP) forbids that, and any script but its own two.
"""
