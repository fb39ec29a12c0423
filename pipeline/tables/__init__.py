"""Columns of other people's tables: which says what, and what may be wrong with them.

column_options  which column says what, as the user names it
columns         which column says what: by an option, else by its customary name
boxes           four columns or one that say which part of an image counts
label_text      columns as text, whole numbers and flags
csv_header      the first line of a CSV: what is between its columns, and whether it names any
csv_quotes      quotes of a CSV, checked as its bytes pass
column_doubts   columns that cannot be what their names say, by their counts
"""
