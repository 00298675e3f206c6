"""Exit codes and messages that every script shares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from her2bayes import cli
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault

SCRIPT = '''"""Try the door [with brackets]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import out, run
from her2bayes.errors import BadInput, Fault


FAULT = Fault("above 100", file="a[b].csv", row=3, column="value", value="120", remedy="mend")


def main(
    how: str, number: int = 3, study: Annotated[list[Path] | None, typer.Option()] = None
) -> int | None:
    if how == "bad":
        raise BadInput([FAULT, Fault("a long line " * 20 + "\\x1b[31m")])
    if how == "fault":
        raise ValueError("no\\nluck [bold]")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "end":
        raise typer.Exit(7)
    if how == "much":
        for _ in range(20000):
            out.print("line")
    if how == "print":
        print("→" * 3)
    return number if how == "number" else None


if __name__ == "__main__":
    run(main)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script in a folder of its own."""
    path = tmp_path / "door.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def call(script: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run it: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        encoding="utf-8",
        env={"PATH": "", "PYTHONPATH": str(Path(cli.__file__).parents[1]), **environ},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nothing"], 0), (["number"], 3), (["number", "--number", "0"], 0), (["end"], 7)],
)
def test_codes_returned(script: Path, arguments: list[str], code: int) -> None:
    assert call(script, *arguments) == (code, "", "")


def test_faults_are_reported_together_one_unbroken_line_each(script: Path) -> None:
    code, out, err = call(script, "bad")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "2 faults in the input; nothing was written.",
        "  a[b].csv, row 3, column 'value': above 100 (found '120'); remedy: mend",
        "  " + "a long line " * 20 + "\\x1b[31m",
    ]


def test_an_internal_fault_takes_one_line(script: Path) -> None:
    line = "Internal fault: ValueError at door.py:23: no luck [bold]"
    code, out, err = call(script, "fault")
    assert (code, out) == (1, "")
    assert err == f"{line} (run again with --debug for the traceback)\n"
    code, out, err = call(script, "fault", "--debug")
    assert (code, out) == (1, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith(f"{line}\n")


def test_an_interruption_is_not_a_fault(script: Path) -> None:
    assert call(script, "interrupt") == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("arguments", [[], ["x", "--nix"], ["x", "--number", "three"]])
def test_mistyped_options_are_bad_input(script: Path, arguments: list[str]) -> None:
    code, out, err = call(script, *arguments)
    assert (code, out) == (2, "")
    assert "bash scripts/run door" in err


def test_help_is_the_modules_docstring(script: Path) -> None:
    code, out, err = call(script, "--help")
    assert (code, err) == (0, "")
    assert "Try the door [with brackets]." in out
    assert "--debug" in out


def test_a_reader_that_leaves_early_is_no_fault(script: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(script), "much"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.EXIT_BROKEN_PIPE


def test_a_narrow_terminal_encoding_does_not_stop_a_script(script: Path) -> None:
    code, out, _ = call(script, "print", PYTHONIOENCODING="ascii")
    assert (code, out) == (0, "???\n")


def test_main_can_be_called_in_process() -> None:
    def main(number: int = 1) -> int | None:
        if number == 2:
            raise BadInput(Fault("two", allowed="1"))
        return EXIT_NOT_CONVERGED

    runner = CliRunner()
    assert runner.invoke(cli.app(main), []).exit_code == EXIT_NOT_CONVERGED
    assert runner.invoke(cli.app(main), ["--number", "2"]).exit_code == 2


def document(script: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run it with ``--json``: exit code, the document (which must be all of stdout), stderr."""
    code, out, err = call(script, *arguments, "--json")
    content = json.loads(out)
    assert content["exit_code"] == code
    assert content["script"] == "door"
    assert content["arguments"] == [*arguments, "--json"]
    return code, content, err


@pytest.mark.parametrize("how", ["nothing", "number", "bad", "fault", "interrupt", "end", "much"])
def test_json_changes_neither_code_nor_messages(script: Path, how: str) -> None:
    code, out, err = call(script, how)
    told = document(script, how)
    assert (told[0], told[2]) == (code, err)
    assert told[1]["lines"] == out.splitlines()


def test_json_gives_faults_in_parts(script: Path) -> None:
    first, second = document(script, "bad")[1]["faults"]
    assert first == {
        "message": "above 100", "file": "a[b].csv", "row": 3, "column": "value", "value": "120",
        "allowed": None, "remedy": "mend",
        "text": "a[b].csv, row 3, column 'value': above 100 (found '120'); remedy: mend",
    }  # fmt: skip
    assert second["file"] is None
    assert "no luck" in document(script, "fault")[1]["faults"][0]["message"]


@pytest.mark.parametrize("arguments", [(), ("x", "--nix"), ("x", "--number", "three")])
def test_json_tells_of_mistyped_options(script: Path, arguments: tuple[str, ...]) -> None:
    code, told, err = document(script, *arguments)
    assert code == 2
    assert (code, "", err) == call(script, *arguments)
    assert told["faults"][0]["message"]
    assert told["faults"][0]["remedy"] == "see --help"


def test_json_keeps_what_others_print_off_stdout(script: Path) -> None:
    code, told, err = document(script, "print")
    assert (code, told["lines"]) == (0, [])
    assert "→→→" in err
