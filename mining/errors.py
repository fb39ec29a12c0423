"""The exceptions that a user can meet, the exit code that each one carries, and the one kind of warning.

    SubspaceError             1  (a bug, unless one of the below)
    ├── InputError            2  the user's input is wrong: what, where, what to do
    │   ├── DamagedFileError  2  a file is missing, damaged or of another kind; of a run it becomes a StaleArtifactError
    │   └── OwnCodeError      2  code of the user's own raised an error: its traceback, then one line
    └── StaleArtifactError    3  an artifact was made from other settings or inputs, or by another program
    StoppedEarly              4  stopped by a signal or a guard; the same command continues
    └── LostContact           4  another process that trains along is gone; why, that one says

Every message is one line that names the offending value and the next thing to do.
"""

from __future__ import annotations


class SubspaceError(Exception):
    """Base of all errors raised on purpose; its message is meant for the user.

    Example:
        >>> from subspace.mining import InputError, SubspaceError
        >>> issubclass(InputError, SubspaceError), SubspaceError.exit_code
        (True, 1)
    """

    exit_code = 1


class InputError(SubspaceError, ValueError):
    """Wrong input: a missing file, a bad setting, a table with the wrong columns, a NaN.

    Example:
        >>> from subspace.mining import InputError, Manifest
        >>> try:
        ...     Manifest.open("nowhere.parquet")
        ... except InputError as error:
        ...     print(error, error.exit_code)
        nowhere.parquet does not exist 2
    """

    exit_code = 2


class DamagedFileError(InputError):
    """A file that is missing, damaged or of another kind; `file` is its path.

    Where the file is a run's own, the pipeline makes a StaleArtifactError of it, which names the command that remakes it.

    Example:
        >>> from subspace.mining.errors import DamagedFileError
        >>> error = DamagedFileError("round-000/plan is damaged", "round-000/plan")
        >>> error.file, error.exit_code
        ('round-000/plan', 2)
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


class OwnCodeError(InputError):
    """An error inside a function or module of the user's own, such as a loss; `traceback` begins where their code does.

    Example:
        >>> from subspace.mining.errors import OwnCodeError
        >>> OwnCodeError("python:mine:loss raised KeyError: 'x'").exit_code
        2
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class StaleArtifactError(SubspaceError):
    """The artifact exists but was made from something else; remake it with `--force`.

    Example:
        >>> from subspace.mining import StaleArtifactError
        >>> StaleArtifactError.exit_code
        3

    Args:
        change: the field that differs, as short as a table wants it.
    """

    exit_code = 3

    def __init__(self, message: str, change: str = "") -> None:
        super().__init__(message)
        self.change = change


class SubspaceWarning(UserWarning):
    """What stops nothing but is hardly meant; the command line says it in one line.

    Example:
        >>> from subspace.mining import SubspaceWarning
        >>> issubclass(SubspaceWarning, UserWarning)  # so `warnings.simplefilter("ignore", SubspaceWarning)` works
        True
    """


class StoppedEarly(BaseException):
    """Work stopped before its end with everything saved; run the same command to continue.

    No `Exception`: a signal may raise it anywhere, and no handler of damaged images may swallow it.

    Example:
        >>> from subspace.mining import StoppedEarly
        >>> issubclass(StoppedEarly, Exception), StoppedEarly.exit_code
        (False, 4)
    """

    exit_code = 4


class LostContact(StoppedEarly):
    """Another process of a training, or the way to it, is gone; the cause is what that one says, if it still can.

    Example:
        >>> from subspace.mining.errors import LostContact
        >>> LostContact.exit_code
        4
    """
