'''The one door between a script and its user: options, messages and exit codes.

A script is a module docstring (``bash scripts/run`` lists its first line, ``--help`` shows it all,
read as Markdown), a ``main`` with typer annotations, and two closing lines::

    """Check every number a paper prints against its other numbers."""

    from pathlib import Path
    from typing import Annotated

    import typer

    from her2bayes.cli import log, out, run
    from her2bayes.errors import EXIT_NOT_CONVERGED


    def main(
        study: Annotated[Path, typer.Option(help="Folder with the printed evidence.")],
        seed: Annotated[int, typer.Option(help="Seed of every random step.")] = 20230221,
    ) -> int | None:
        from her2bayes.analysis import distribution  # heavy, so not at the top: --help stays fast

        log.print("Fitting 8 factors ...")  # progress: stderr
        out.print(summary)  # the result: stdout
        return None if converged else EXIT_NOT_CONVERGED


    if __name__ == "__main__":
        run(main)

What ``main`` returns or raises decides the exit code:

============================  =====  ============================================================
``None`` or ``0``                 0  done
any other integer             as is  ``EXIT_NOT_CONVERGED`` (3): done, but a fit did not converge
``BadInput``                      2  every fault on its own line on stderr
a mistyped option                 2  typer's own message
Ctrl-C                          130  one line
the reader of stdout is gone    141  nothing (``... | head``)
any other exception               1  one line: type, place, message; traceback with ``--debug``
============================  =====  ============================================================

``--debug`` is added to every script. Text that came from a file is printed through ``plain``.
'''

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from her2bayes.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERNAL, EXIT_INTERRUPTED, BadInput

EXIT_BROKEN_PIPE = 141
"""What a shell reports for a writer whose reader has gone (128 + SIGPIPE)."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the error through (rich would end the process with 1)."""
        raise BrokenPipeError


out = _Console(highlight=False)
"""Results, on stdout."""

log = _Console(stderr=True, highlight=False)
"""Progress and faults, on stderr."""

Main = Callable[..., int | None]


def run(main: Main | Mapping[str, Main]) -> None:
    """Parse the command line, call ``main`` (or the named one) and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(main)(prog_name=f"bash scripts/run {_script(_first(main)).stem}")


def app(main: Main | Mapping[str, Main]) -> typer.Typer:
    """Typer application of one script, for ``run`` and for ``typer.testing.CliRunner``.

    A mapping gives the script subcommands, each with the docstring of its function.
    """
    application = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        no_args_is_help=isinstance(main, Mapping),
    )
    if isinstance(main, Mapping):
        application.callback(help=inspect.getdoc(inspect.getmodule(_first(main))))(lambda: None)
        for name, command in main.items():
            application.command(name, help=inspect.getdoc(command))(_guarded(command))
    else:
        application.command(help=inspect.getdoc(inspect.getmodule(main)))(_guarded(main))
    return application


@contextmanager
def watching() -> Iterator[Callable[[int, int, str], None]]:
    """Show how many of many jobs are done: a bar with the time left on a terminal, else lines."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    start = monotonic()
    if not log.is_terminal:
        last = [-1e9]

        def say(done: int, total: int, text: str) -> None:
            if monotonic() - last[0] > 10 or done == total:
                last[0] = monotonic()
                log.print(plain(f"{monotonic() - start:4.0f} s  {done} of {total}: {text}"))

        yield say
        return
    columns = (
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=log) as progress:
        task = progress.add_task("starting", total=None)

        def show(done: int, total: int, text: str) -> None:
            progress.update(task, completed=done, total=total, description=str(plain(text)))

        yield show


def _first(main: Main | Mapping[str, Main]) -> Main:
    return next(iter(main.values())) if isinstance(main, Mapping) else main


def plain(text: object) -> Text:
    """Text from outside as rich text: no markup is read, control characters are spelt out."""
    spelt = (c if c.isprintable() or c in "\n\t\xa0" else f"\\x{ord(c):02x}" for c in str(text))
    return Text("".join(spelt))


def report_faults(fault: BadInput) -> None:
    """Print all faults of a bad input on stderr, one unbroken line each."""
    count = len(fault.faults)
    heading = "1 fault in the input" if count == 1 else f"{count} faults in the input"
    log.print(Text(f"{heading}; nothing was written.", style="bold red"))
    for item in fault.faults:
        line = plain(f"  {item}")
        line.highlight_regex(r"remedy: .*", "green")
        log.print(line, soft_wrap=True)


def _guarded(main: Main) -> Callable[..., None]:
    """Wrap ``main``: same signature and ``--debug``; always ends in ``typer.Exit``."""

    @functools.wraps(main)
    def guarded(*args: Any, debug: bool = False, **options: Any) -> None:
        raise typer.Exit(_exit_code(functools.partial(main, *args, **options), debug))

    flag = typer.Option("--debug", help="Show the traceback of an internal fault.")
    debug_parameter = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, flag]
    )
    signature = inspect.signature(main, eval_str=True)
    parameters = [*signature.parameters.values(), debug_parameter]
    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    guarded.__annotations__ = {item.name: item.annotation for item in parameters}
    return guarded


def _exit_code(call: Callable[[], int | None], debug: bool) -> int:
    """Call it, tell the user on stderr what went wrong, and return the exit code."""
    try:
        code = call()
        sys.stdout.flush()
    except typer.Exit as end:
        return int(end.exit_code)
    except BadInput as fault:
        report_faults(fault)
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        log.print("Interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout again when it exits, which would fail a second time with a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:  # the last door: whatever is left is our fault, and says so
        _report_internal(error, debug)
        return EXIT_INTERNAL
    return code if isinstance(code, int) else EXIT_DONE


def _report_internal(error: Exception, debug: bool) -> None:
    if debug:
        log.print(plain("".join(traceback.format_exception(error))), soft_wrap=True)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = f"Internal fault: {type(error).__name__}{place}: {' '.join(str(error).split())}"
    remedy = "" if debug else " (run again with --debug for the traceback)"
    log.print(plain(message + remedy), soft_wrap=True)


def _script(main: Main) -> Path:
    return Path(inspect.getfile(main))
