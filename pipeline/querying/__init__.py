"""`subspace inspect PATH --sql "select ..."`: SQL over the tables of a run, by DuckDB.

named_tables  which tables a path has, by the names that a query calls them
query         one select over these tables and nothing else
answer        what came out, as a table for people or rows for a program
"""
