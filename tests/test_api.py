"""docs/api.md says what the docstrings say, and their examples run."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import her2bayes

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = [name for name in her2bayes.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api", ROOT / "scripts" / "api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_current(script: ModuleType) -> None:
    assert script.FILE.read_text("utf-8") == script.written(), "bash scripts/run api"


def test_every_public_name_has_its_heading(script: ModuleType) -> None:
    text = script.written()
    assert [name for name in PUBLIC if f"\n### hb.{name}\n" not in text] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = inspect.unwrap(getattr(her2bayes, name))
    found = doctest.DocTestFinder(recurse=False).find(
        value, name, globs={**vars(inspect.getmodule(value)), "hb": her2bayes}
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    for test in found:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_every_public_function_has_an_example() -> None:
    public = [inspect.unwrap(getattr(her2bayes, name)) for name in PUBLIC]
    functions = [value for value in public if inspect.isfunction(value)]
    assert [f.__name__ for f in functions if ">>>" not in (inspect.getdoc(f) or "")] == []


def test_a_docstring_becomes_markdown(script: ModuleType) -> None:
    text = "Take ``a\nb``.\n\n>>> f(1)\n2\n\nThen."
    assert script.markdown(text) == "Take `a\nb`.\n\n```pycon\n>>> f(1)\n2\n```\n\nThen."
