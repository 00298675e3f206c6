"""Every script says what it is for, and says it fast."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer

from her2bayes.cli import app

FOLDER = Path(__file__).resolve().parents[1] / "scripts"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))
STUDIES = sorted(path.parent.name for path in FOLDER.parent.glob("data/published/*/study.toml"))
SLOW = {
    "arviz", "arviz_stats", "dask", "distributed", "duckdb", "greenwood", "ibis", "jinja2",
    "matplotlib", "numba", "numpy", "nutpie", "pandas", "pyarrow", "pymc", "pytensor", "scipy",
    "xarray",
}  # fmt: skip
SAMPLERS = {"arviz", "arviz_stats", "numba", "nutpie", "pymc", "pytensor"}
HELP_TIMES = 3.2
"""Processor time of a help beside that of importing what prints it, on this machine now: 2.5."""
AUDIT_TIMES = 2.2
"""Processor time of an audit beside that of importing its libraries, on this machine now: 1.8."""

CALL = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_first_line_fits_the_list(script: Path) -> None:
    lines = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()
    assert lines
    assert lines[0].endswith(".")
    assert len(lines[0]) <= 95


def python(code: str, *arguments: str) -> tuple[str, str, float]:
    """Run code in a process of its own: stdout, stderr, seconds of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    spent = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return done.stdout, done.stderr, spent


def call(script: Path, *arguments: str) -> tuple[str, set[str], float]:
    """Run a script as ``scripts/run`` does: stdout, modules loaded, seconds of the processor."""
    said, told, spent = python(CALL, str(script), *arguments)
    return said, set(told.rpartition("LOADED")[2].split()), spent


@pytest.fixture(scope="session")
def floor() -> float:
    """Processor time of a process that only imports what prints a help."""
    return min(python("import typer, rich.console, rich.table")[2] for _ in range(3))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_comes_fast_without_loading_what_is_slow(script: Path, floor: float) -> None:
    said, loaded, first = call(script, "--help")
    assert f"bash scripts/run {script.stem}" in said
    assert not SLOW & loaded
    assert first < HELP_TIMES * floor or call(script, "--help")[2] < HELP_TIMES * floor


@pytest.mark.slow
def test_the_audit_loads_no_sampler_and_is_fast(tmp_path: Path) -> None:
    audit = FOLDER / "audit.py", "--out", str(tmp_path)
    _, loaded, first = call(*audit)
    assert not (SAMPLERS | {"jinja2", "xarray"}) & loaded
    imports = "import pandas, scipy.optimize, scipy.stats, typer"
    floor = min(python(imports)[2] for _ in range(2))
    assert min(first, call(*audit)[2]) < AUDIT_TIMES * floor


def commands(script: Path) -> dict[str, dict[str, Any]]:
    """Parameters of a script by name, for each of its commands."""
    spec = spec_from_file_location(f"script_{script.stem}", script)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    given = getattr(module, "main", None) or {n: getattr(module, n) for n in ("curve", "summary")}
    command = typer.main.get_command(app(given))
    every = getattr(command, "commands", {"": command})
    return {
        name: {param.name: param for param in one.params if param.param_type_name == "option"}
        for name, one in every.items()
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_flags_are_spelt_and_mean_the_same_everywhere(script: Path) -> None:
    """One spelling for one thing; whatever has a seed has the same one unless told."""
    for params in commands(script).values():
        spelt = {option: name for name, param in params.items() for option in param.opts}
        assert {"--json", "--debug"} <= set(spelt)
        assert not set(spelt) & {"--output", "--outdir", "--random-seed", "--fast", "--verbose"}
        for option, name in (("--map", "map_"), ("--seed", "seed")):
            assert spelt.get(option, name).startswith(name)
        if "seed" in params:
            assert params["seed"].default == 20230221
        assert all(param.help for name, param in params.items())


def test_completion_offers_every_name_and_option(tmp_path: Path) -> None:
    """What Tab offers is read from the scripts' text; it must be what they take."""
    done = subprocess.run(
        ["bash", str(FOLDER / "run"), "completion"], capture_output=True, text=True, check=True
    )
    for script in SCRIPTS:
        found = commands(script)
        params = [param for one in found.values() for param in one.values()]
        wanted = {option for param in params for option in (*param.opts, *param.secondary_opts)}
        line = f"COMP_WORDS=(bash scripts/run {script.stem} --); COMP_CWORD=3; _her2_run"
        told = subprocess.run(
            ["bash", "-c", f'{done.stdout}\n{line}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert set(told.stdout.split()) - {"--help"} == wanted, script.stem


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bash scripts/run re", {"reconstruct", "replay", "reproduce"}),
        ("scripts/run reconstruct ", {"curve", "summary"}),
        ("bash scripts/run audit --study ", set(STUDIES)),
        ("bash other ", set()),
    ],
)
def test_completion_in_place(words: str, offered: set[str]) -> None:
    first, *_ = words.split(" ")
    count = len(words.split(" ")) - 1
    array = " ".join(f"'{word}'" for word in words.split(" "))
    line = f"eval \"$(bash '{FOLDER}/run' completion)\"; COMP_WORDS=({array}); COMP_CWORD={count}"
    done = subprocess.run(
        ["bash", "-c", f'{line}; _her2_run {first}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == offered
