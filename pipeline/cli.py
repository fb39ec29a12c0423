"""The `subspace` command: its groups of commands, and how errors end."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
import traceback
import warnings
from itertools import pairwise
from types import TracebackType
from typing import Annotated, NoReturn, TextIO

import typer

from .child_processes import CONTACT_LOST, PARENT
from .commands import cleaning as cleaning_commands
from .commands import data as data_commands
from .commands import embeddings as embedding_commands
from .commands import evaluation as evaluation_commands
from .commands import inspection as inspection_commands
from .commands import jobs as cluster_commands
from .commands import learning_rate as learning_rate_commands
from .commands import loss_search as loss_search_commands
from .commands import machine as machine_commands
from .commands import models as model_commands
from .commands import reports as report_commands
from .commands import runs as run_commands
from .commands import searching as search_commands
from .commands import stages as stage_commands
from .commands.parameters import EachOnce
from .faults.damaged_files import damage_in_words
from .faults.said_once import is_mine_to_say
from .stages.graph import STAGES
from .terminal_text import printable, printable_line

MODULES = (
    data_commands,
    embedding_commands,
    stage_commands,
    evaluation_commands,
    cleaning_commands,
    learning_rate_commands,
    loss_search_commands,
    run_commands,
    inspection_commands,
    report_commands,
    model_commands,
    search_commands,
    cluster_commands,
    machine_commands,
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"subspace {version('subspace-mining')}")
        raise typer.Exit


def before_the_command(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options before the command."""


def command_line(command: str | None = None) -> typer.Typer:
    """The command line; with a command's name that command alone, as to build all of them takes a tenth of `status`."""
    made = typer.Typer(
        help="Train identity embeddings by subspace hard mining: embed, cluster, plan, train, repeat.",
        epilog="Begin with: subspace demo",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(before_the_command)
    commands = [one for module in MODULES for one in module.commands.registered_commands]
    for one in commands:
        one.cls = one.cls if one.cls and issubclass(one.cls, EachOnce) else EachOnce
    asked = [one for one in commands if command and command == (one.name or one.callback.__name__)]
    made.registered_commands = asked or commands  # of a wrong name all, to say which there are
    return made


app = command_line()


def main() -> None:
    """Run the command line; every error meant for the user is one line on standard error and its exit code."""
    from ..mining.errors import InputError, LostContact, OwnCodeError, StoppedEarly, SubspaceError
    from ..mining.local_paths import refuse_url

    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  (closed by whoever started this: 2>&-)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that its encoding lacks are spelt out
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _say_warning
    sys.excepthook = _say_traceback
    threading.excepthook = _say_failed_thread
    try:
        if any(word == "" and not before.startswith("--") for before, word in pairwise(sys.argv)):
            # as a path it would be the current folder
            raise InputError("an argument is empty: perhaps a shell variable that is not set; leave it out")
        for before, word in pairwise(
            sys.argv
        ):  # before a Path of it loses a slash, and a folder "s3:" is made
            if "://" in word and not _is_read(before, word):  # and not checkpoint:/folder
                refuse_url(word.partition("=")[2] if word.startswith("--") else word)
        with damage_in_words(STAGES):
            words = sys.argv[1:] or ["--help"]
            code = command_line(words[0])(words, standalone_mode=False)
    except OwnCodeError as error:
        print(printable(error.traceback), end="", file=sys.stderr)
        _fail(str(error), error.exit_code)
    except LostContact as error:
        if PARENT in os.environ or not is_mine_to_say(error):
            _leave(CONTACT_LOST if PARENT in os.environ else error.exit_code)
        _fail(str(error), error.exit_code)
    except (SubspaceError, StoppedEarly) as error:
        if not is_mine_to_say(error):
            _leave(error.exit_code)
        _fail(str(error), error.exit_code)
    except SystemExit as error:  # of processes that were started, or of one whose error process 0 says
        _leave(error.code if isinstance(error.code, int) else 1)
    except KeyboardInterrupt:  # before a command looks for signals itself
        _leave(130)
    except typer.TyperException as error:
        _fail(error.format_message(), 2)
    except ModuleNotFoundError as error:
        if error.name != "faiss":
            raise
        _fail("FAISS is missing: pip install 'subspace-mining[cpu]' or 'subspace-mining[gpu]'", 2)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR):
            _fail(f"{error.strerror}: {str(error.filename)[:200]}; name another path", 2)
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.EIO):
            raise
        _fail(
            f"{error.strerror}: {error.filename or 'a file of the run, or what the output goes to'}; free space or check permissions",
            2,
        )
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # of Path.resolve, before Python 3.13
            raise
        _fail(f"{error}; name another path", 2)
    _leave(code if isinstance(code, int) else 0)


_SAID: set[tuple[type[Warning], str]] = set()
"""Warnings that this process has said."""


def _is_read(before: str, word: str) -> bool:
    """Whether a word of the command line is what a command only reads, so that it may be a URL."""
    option = word.partition("=")[0] if word.startswith("--") else before
    if option in ("--root", "--manifest", "--labels"):
        return True
    return option != "--out" and sys.argv[1] in ("embed", "ingest", "inspect", "overlap")


def _leave(code: int) -> NoReturn:
    """End the process; one of several at once, since threads of torch.distributed may abort an orderly end."""
    if "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _say_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug's traceback, in whose message there may be a name from the data."""
    print(printable("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _say_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread of a library that cannot write, such as TensorBoard's; what needs its files says so itself."""
    if isinstance(failed.exc_value, OSError):
        said = printable_line(f"warning: {failed.exc_value}; curves may be incomplete")
        print(said, file=sys.stderr)
    else:
        _say_traceback(failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback)


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As `warnings.showwarning`; our own are one line, and of several processes the first says them.

    Each is said once in a command. Python's own memory of what it has said is lost whenever anything sets filters for
    a moment, and the decoding of images does so at every batch.
    """
    from ..mining.errors import SubspaceWarning

    said = (category, str(message))
    if said in _SAID:
        return
    _SAID.add(said)
    if not issubclass(category, SubspaceWarning):
        said = printable(warnings.formatwarning(message, category, filename, lineno, line))
        print(said, end="", file=file or sys.stderr)
    elif os.environ.get("RANK", "0") == "0":
        print(f"subspace: warning: {printable_line(' '.join(str(message).split()))}", file=sys.stderr)


def _fail(message: str, code: int) -> NoReturn:
    print(f"subspace: {printable_line(' '.join(message.split()))}", file=sys.stderr)
    _leave(code)


if __name__ == "__main__":
    main()
