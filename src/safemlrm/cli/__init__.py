"""The command line. Exit codes: 0 done; 1 a mistake in what was asked; 2 finished with rows that failed or were
not read; 130 stopped."""

from __future__ import annotations

import os
import sys

import typer

from safemlrm import __version__
from safemlrm.cli import data, judging, listing, look, probe, reporting, running, specimen
from safemlrm.errors import SafeMLRMError

app = typer.Typer(
    name="safemlrm",
    help="What did learning to reason cost in safety, where, and how sure are we?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (running, judging, reporting, look, listing, specimen, data, probe):
    module.add_to(app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"safemlrm {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a mistake in what was asked is one message on stderr and exit code 1."""
    # the analysis multiplies many small matrices: threads there wait for each other (benchmarks/analysis.py)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code, without leaving the process."""
    try:
        code = app(arguments, standalone_mode=False)
    except SafeMLRMError as error:
        typer.echo(f"safemlrm: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except typer.Exit as leave:
        return leave.exit_code
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        if not message():  # no command at all: the help was printed
            return 1
        typer.echo(f"safemlrm: {message()} (see safemlrm --help)", err=True)
        return 1
    return code if isinstance(code, int) else 0
