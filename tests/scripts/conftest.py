"""Scripts called in this process: their imports and compiled models are paid for once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from her2bayes.cli import app, out

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _call(script: str, *arguments: object) -> Result:
    spec = spec_from_file_location(script, SCRIPTS / f"{script}.py")
    assert spec
    assert spec.loader
    module: Any = module_from_spec(spec)
    sys.modules[script] = module
    spec.loader.exec_module(module)
    main = getattr(module, "main", None) or {n: getattr(module, n) for n in ("curve", "summary")}
    try:
        return CliRunner().invoke(app(main), [str(a) for a in arguments])
    finally:
        out.file = None  # type: ignore[assignment]  # --json put it on the stream of this call


@pytest.fixture(scope="session")
def call() -> Callable[..., Result]:
    """Run a script with these arguments."""
    return _call
