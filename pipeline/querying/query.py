"""One select over some tables, by DuckDB, which is let at these tables and at nothing else."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

from ...mining.errors import InputError
from .answer import Answer
from .named_tables import Tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NAMES_SAID = 30
ALONE = {
    "python_enable_replacements": False,  # names of Python's variables are no tables
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    "temp_directory": "",  # nothing spills into the folder that the command was called in
}
"""Settings of DuckDB that no query needs, and any of which would reach beyond the tables."""


def answer_query(tables: Tables, query: str, at_most: int | None = None) -> Answer:
    """What a select over `tables` finds.

    DuckDB works in memory. Once the tables are views, it may open no file, reach no network and load no extension, and its
    settings are locked; the only statement that runs is one select.

    Args:
        at_most: rows to fetch; the answer says whether there are more.

    Example:
        >>> import pyarrow as pa
        >>> answer_query({"this": pa.table({"size": [3, 4]})}, "select sum(size) as images from this").rows
        [(7,)]

    Raises:
        InputError: DuckDB is missing, or the query is wrong, more than one, or no select.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InputError("--sql needs DuckDB: pip install 'subspace-mining[sql]'") from error
    with closing(duckdb.connect(":memory:", config=dict(ALONE))) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute("set enable_external_access=false")
        connection.execute("set lock_configuration=true")
        try:
            _check_is_one_select(connection, query)
            found = connection.execute(query)
            rows = found.fetchall() if at_most is None else found.fetchmany(at_most + 1)
            columns = [(str(column[0]), str(column[1])) for column in found.description or []]
        except duckdb.InterruptException as error:
            raise KeyboardInterrupt from error
        except duckdb.Error as error:
            _refuse(error, tables)
    more = at_most is not None and len(rows) > at_most
    return Answer(columns, rows[:at_most] if more else rows, more)


def _check_is_one_select(connection: DuckDBPyConnection, query: str) -> None:
    """Refuse whatever is not one select; other statements write, or would if they could."""
    import duckdb

    statements = connection.extract_statements(query)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        what = (
            "nothing"
            if not kinds
            else f"{len(kinds)} statements"
            if len(kinds) > 1
            else kinds[0].name.lower()
        )
        raise InputError(f"--sql takes one select, and this is {what}; write tables with a program of yours")


def _refuse(error: Exception, tables: Tables) -> NoReturn:
    """The first line of what DuckDB says; where it misses a table, with those that are there."""
    line: Any = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "Table with name" in line:
        names = list(tables)
        more = f" and {len(names) - NAMES_SAID:,} others" if len(names) > NAMES_SAID else ""
        line += f" Tables here: {', '.join(names[:NAMES_SAID])}{more}"
    raise InputError(f"--sql: {line}") from error
