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
        from her2bayes.sensitivity import distribution  # heavy: not at the top

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

``--debug`` and ``--json`` are added to every script. With ``--json`` stdout holds one JSON document
and nothing else; exit codes and stderr are the same. The document has:

========================  =========================================================================
``script``, ``arguments``  what was called
``exit_code``             that of the process
``lines``                 what the script prints without ``--json``, a line each
``warnings``              what did not converge or needs a second look, and notices of the log
``files``                 paths of everything written
``estimates``             rows of estimates.csv and evidence.csv; an empty cell is null
``findings``              rows of findings.csv
``faults``                message, file, row, column, value, allowed, remedy; text is the whole line
========================  =========================================================================

Beside what a script writes stands a ``provenance.json`` (``reproduce.provenance``), which
``replay`` reads. Text that came from a file is printed through ``plain``.
'''

from __future__ import annotations

import csv
import functools
import inspect
import io
import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from her2bayes import files
from her2bayes.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    BadInput,
    Fault,
)
from her2bayes.inference.progress import hearing, shown, spoke, waiting

EXIT_BROKEN_PIPE = 141
"""What a shell reports for a writer whose reader has gone (128 + SIGPIPE)."""


class _Console(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is waited for is said anew only after a silence."""
        super().print(*objects, **options)
        spoke()

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
    application, script = app(main), _script(_first(main)).stem
    name = f"bash scripts/run {script}"
    if "--json" in sys.argv[1:]:
        try:
            code = application(prog_name=name, standalone_mode=False)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            _print_document(script, EXIT_BAD_INPUT, faults=[_mistyped(error)])
        else:
            sys.exit(code)
    application(prog_name=name)


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
        with waiting("starting", "", remember=False) as step:

            def say(done: int, total: int, text: str) -> None:
                step.text = f"{done} of {total}" if total else text
                if monotonic() - last[0] > 10 or done == total:
                    last[0] = monotonic()
                    many = f"{done} of {total}: " * bool(total)
                    log.print(plain(f"{monotonic() - start:4.0f} s  {many}{text}"))

            yield say
        return
    columns = (
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=log) as progress, hearing(lambda _: None):
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
    """Wrap ``main``: same signature, ``--json`` and ``--debug``; always ends in ``typer.Exit``."""

    @functools.wraps(main)
    def guarded(
        *args: Any, context: typer.Context, debug: bool = False, json: bool = False, **options: Any
    ) -> None:
        call = functools.partial(_recorded, main, context, *args, **options)
        if json:
            raise typer.Exit(_answered(call, _script(main).stem, debug))
        raise typer.Exit(_end(call, debug)[0])

    signature = inspect.signature(main, eval_str=True)
    added = {
        "context": (inspect.Parameter.empty, typer.Context),
        "json": (False, Annotated[bool, typer.Option("--json", help=_JSON_HELP)]),
        "debug": (False, Annotated[bool, typer.Option("--debug", help=_DEBUG_HELP)]),
    }
    parameters = [*signature.parameters.values()] + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (default, kind) in added.items()
    ]
    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    guarded.__annotations__ = {item.name: item.annotation for item in parameters}
    return guarded


_JSON_HELP = "Print one JSON document in place of text."
_DEBUG_HELP = "Show the traceback of an internal fault."


def _recorded(main: Main, context: typer.Context, *args: Any, **options: Any) -> int | None:
    """Call ``main`` and leave beside what it wrote the record of how it came about."""
    from her2bayes.reproduce.provenance import Call

    files.take()
    call = Call.of(_script(main).stem, context)
    with shown(log), waiting("running", call.script, remember=False):
        code = main(*args, **options)
    call.write(files.peek())
    return code


def _answered(call: Callable[[], int | None], script: str, debug: bool) -> int:
    """Call it and print the JSON document of what came of it."""
    with held(out) as (lines, warnings):
        code, faults = _end(call, debug)
    try:
        _print_document(
            script, code, lines=lines, warnings=warnings, files=files.take(), faults=faults
        )
    except BrokenPipeError:
        return _broken_pipe()
    return code


def _print_document(script: str, code: int, **content: Any) -> None:
    sys.stdout.write(document(script, sys.argv[1:], code, **content))
    sys.stdout.flush()


def _mistyped(error: Any) -> Fault:
    """What typer says of an option or argument it cannot use."""
    name = getattr(getattr(error, "param", None), "opts", None)
    option = name[-1] if name else getattr(error, "option_name", None)
    return Fault(error.format_message(), column=option, remedy="see --help")


def _end(call: Callable[[], int | None], debug: bool) -> tuple[int, tuple[Fault, ...]]:
    """Call it, tell the user on stderr what went wrong; the exit code and the faults."""
    try:
        code = call()
        sys.stdout.flush()
    except typer.Exit as end:
        return int(end.exit_code), ()
    except BadInput as fault:
        report_faults(fault)
        return EXIT_BAD_INPUT, fault.faults
    except (KeyboardInterrupt, typer.Abort):
        log.print("Interrupted.")
        return EXIT_INTERRUPTED, ()
    except BrokenPipeError:
        return _broken_pipe(), ()
    except Exception as error:  # the last door: whatever is left is our fault, and says so
        return EXIT_INTERNAL, (Fault(_report_internal(error, debug)),)
    return (code if isinstance(code, int) else EXIT_DONE), ()


def _broken_pipe() -> int:
    # Python flushes stdout again when it exits, which would fail a second time with a message.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def _report_internal(error: Exception, debug: bool) -> str:
    if debug:
        log.print(plain("".join(traceback.format_exception(error))), soft_wrap=True)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = f"Internal fault: {type(error).__name__}{place}: {' '.join(str(error).split())}"
    remedy = "" if debug else " (run again with --debug for the traceback)"
    log.print(plain(message + remedy), soft_wrap=True)
    return message


def _script(main: Main) -> Path:
    return Path(inspect.getfile(main))


def choice(value: str, option: str, allowed: Sequence[str]) -> Any:
    """One of the values an option allows."""
    if value not in allowed:
        raise BadInput(Fault(f"{option} cannot be read", value=value, allowed=", ".join(allowed)))
    return value


def numbers(text: str, option: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="12,24,60")) from error


def factors(texts: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Read ``her2`` or ``her2=zero,low,positive`` (levels in that order, others left out).

    A level that holds a comma stands in double quotes.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    for text in texts:
        name, mark, levels = text.partition("=")
        names = _listed(levels) if levels.strip() else ()
        if not name or (mark and not names) or name in found:
            raise BadInput(
                Fault(
                    "--by cannot be read", value=text, allowed="column or column=level,level; once"
                )
            )
        found[name.strip()] = names or None
    return found


def several(texts: Sequence[str], option: str) -> dict[str, tuple[str, ...]]:
    """Read ``column=code,code`` options into a mapping; a code with a comma stands in quotes."""
    return {name: _listed(value) for name, value in assigned(texts, option).items()}


def assigned(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read ``a=b`` options into a mapping."""
    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (mark and name.strip() and value.strip()):
            raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="name=value"))
        found[name.strip()] = value.strip()
    return found


def _listed(text: str) -> tuple[str, ...]:
    (row,) = csv.reader([text], skipinitialspace=True)
    return tuple(part.strip() for part in row if part.strip())


_ATTENTION = ("Not converged", "Look again")


class _Notices(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def held(console: Console) -> Iterator[tuple[list[str], list[str]]]:
    """Keep stdout clean: what ``console`` prints becomes lines, what others print goes to stderr.

    Gives two lists, lines and warnings, filled when the block ends.
    """
    lines: list[str] = []
    warnings: list[str] = []
    text, notices = io.StringIO(), _Notices()
    own = console.file not in (sys.stdout, sys.stderr)  # else whatever these are at the time
    before = console.file if own else None, console.width
    log = logging.getLogger("her2bayes")
    log.addHandler(notices)
    try:
        with _no_file_one(), redirect_stdout(sys.stderr):
            console.file, console.width = text, 10_000
            yield lines, warnings
    finally:
        log.removeHandler(notices)
        console.file, console.width = before  # type: ignore[assignment]
        lines += [line.rstrip() for line in text.getvalue().splitlines()]
        warnings += [line for line in lines if line.startswith(_ATTENTION)] + notices.texts


@contextmanager
def _no_file_one() -> Iterator[None]:
    """Send file descriptor 1 to stderr, for libraries and processes that do not ask Python."""
    try:
        one, two = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # no real streams: a test, or a closed stdout
        yield
        return
    sys.__stdout__.flush()  # type: ignore[union-attr]
    kept = os.dup(one)
    os.dup2(two, one)
    try:
        yield
    finally:
        os.dup2(kept, one)
        os.close(kept)


def document(
    script: str,
    arguments: Sequence[str],
    exit_code: int,
    *,
    lines: Sequence[str] = (),
    warnings: Sequence[str] = (),
    files: Sequence[Path] = (),
    faults: Sequence[Fault] = (),
) -> str:
    """Text of the document, in ASCII, with a newline at its end."""
    content = {
        "script": script,
        "arguments": list(arguments),
        "exit_code": exit_code,
        "lines": list(lines),
        "warnings": list(warnings),
        "files": [str(path) for path in files],
        "estimates": _rows(files, ("estimates.csv", "evidence.csv")),
        "findings": _rows(files, ("findings.csv",)),
        "faults": [fault_record(fault) for fault in faults],
    }
    return json.dumps(content, allow_nan=False) + "\n"


def fault_record(fault: Fault) -> dict[str, Any]:
    """A fault by the names of its parts; what does not apply is null."""
    return {
        "message": fault.problem,
        "file": None if fault.file is None else str(fault.file),
        "row": fault.row,
        "column": fault.column,
        "value": _plain(fault.value),
        "allowed": fault.allowed,
        "remedy": fault.remedy,
        "text": str(fault),
    }


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _rows(files: Sequence[Path], names: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in files:
        if path.name in names and path.is_file():
            with path.open(encoding="utf-8", newline="") as opened:
                found += typed(list(csv.DictReader(opened)))
    return found


def typed(rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Numbers in the columns that hold nothing else, null for empty cells."""
    names = list(rows[0]) if rows else []
    numeric = {name for name in names if _all_numbers([row[name] for row in rows])}
    return [
        {name: _number(row[name]) if name in numeric else row[name] or None for name in names}
        for row in rows
    ]


def _all_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(map(_is_number, filled))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _number(cell: str) -> float | str | None:
    if not cell:
        return None
    value = float(cell)
    return value if math.isfinite(value) else cell
