"""The program: its commands, and how errors reach the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from subbyte._version import __version__
from subbyte.cli.commands import (
    bench,
    calibrate,
    compress,
    evaluate,
    explore,
    inline,
    inspect,
    library,
    methods,
    plan,
    report,
    tune,
)
from subbyte.cli.console import ERRORS
from subbyte.cli.spelling import as_typed
from subbyte.cli.usage import USAGE_ERROR, usage_error
from subbyte.errors import SubbyteError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


_WORDS = "subbyte.words"


class Commands(TyperGroup):
    """Commands whose user errors end in one line on stderr and exit code 2."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **more: Any) -> Any:
        """The context of the program; it keeps the words of the command line for errors."""
        words = [*args]
        with _user_errors(self, words):
            context = super().make_context(info_name, args, *rest, **more)
        context.meta[_WORDS] = words
        return context

    def invoke(self, ctx: Any) -> Any:
        """Run the command; our own bugs keep their traceback."""
        with _user_errors(self, ctx.meta[_WORDS]):
            return super().invoke(ctx)


@contextmanager
def _user_errors(program: Any, words: Sequence[str]) -> Iterator[None]:
    """End the program with a line and its exit code where the user has caused the error."""
    try:
        yield
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        _fail(usage_error(error, program, words), error)
    except SubbyteError as error:
        _fail(error, error)
    except KeyboardInterrupt as error:
        hint = str(error) or "nothing was written"
        ERRORS.print(f"interrupted: {hint}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _fail(error: SubbyteError, cause: Exception) -> NoReturn:
    said = f"error: {error.spelled(as_typed)}"
    ERRORS.print(said, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT_USER_ERROR) from cause


app = typer.Typer(
    cls=Commands,
    name="subbyte",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"subbyte {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Compress a trained network to 0.5 - 4 bits per weight; run it in any ONNX runtime.

    Start with `subbyte compress net.onnx -o small.onnx --calib samples.npz:x`, then
    measure with `subbyte eval` and look inside with `subbyte inspect`.
    """


_MAKE, _MEASURE = "Make", "Look and measure"

app.command("compress", rich_help_panel=_MAKE)(compress.command)
app.command("tune", rich_help_panel=_MAKE)(tune.command)
app.command("plan", rich_help_panel=_MAKE)(plan.command)
app.command("explore", rich_help_panel=_MAKE)(explore.command)
app.command("inline", rich_help_panel=_MAKE)(inline.command)
app.command("eval", rich_help_panel=_MEASURE)(evaluate.command)
app.command("inspect", rich_help_panel=_MEASURE)(inspect.command)
app.command("report", rich_help_panel=_MEASURE)(report.command)
app.command("bench", rich_help_panel=_MEASURE)(bench.command)
app.command("calibrate-cpu", rich_help_panel=_MEASURE)(calibrate.command)
app.command("library-path", rich_help_panel=_MEASURE)(library.command)
app.command("methods", rich_help_panel=_MEASURE)(methods.command)
