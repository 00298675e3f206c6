"""nutpie's functions behind our wrappers: the same draws, and a second process compiles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from her2bayes.inference.engine import compiled_model, compiler_flags

RUN: dict[str, Any] = {"draws": 100, "tune": 100, "chains": 2, "cores": 1, "seed": 5}
RUN["progress_bar"] = False


def model_of_many_kinds() -> Any:
    """Data of no, one and two dimensions, as floats, whole numbers and flags."""
    import pymc as pm

    with pm.Model(coords={"row": [0, 1, 2], "column": [0, 1]}) as model:
        matrix = pm.Data("matrix", np.arange(6.0).reshape(3, 2), dims=("row", "column"))
        counts = pm.Data("counts", np.array([3, 0, 8]), dims="row")
        kept = pm.Data("kept", np.array([True, False, True]), dims="row")
        scale = pm.Data("scale", np.array(0.5))
        slope = pm.Normal("slope", 0, scale, dims="column")
        level = pm.Deterministic("level", (matrix * slope).sum(axis=1) * kept, dims="row")
        pm.Poisson("events", pm.math.exp(level), observed=counts, dims="row")
    return model


@pytest.mark.slow
def test_draws_are_those_of_nutpies_own_wrappers_to_the_bit() -> None:
    import nutpie

    with compiler_flags():
        model = model_of_many_kinds()
        ours, theirs = compiled_model(model), nutpie.compile_pymc_model(model)
        other = np.arange(6.0).reshape(3, 2) / 7
        for update in ({}, {"matrix": other, "scale": 0.1, "counts": np.array([1, 2, 3])}):
            first = nutpie.sample(ours.with_data(**update), **RUN).posterior.to_dataset()
            second = nutpie.sample(theirs.with_data(**update), **RUN).posterior.to_dataset()
            assert first.sizes == second.sizes
            assert float(first["slope"].std()) > 0
            assert first.equals(second)


@pytest.mark.slow
def test_a_second_process_reads_what_the_first_compiled(tmp_path: Path) -> None:
    code = (
        "import json, hashlib, nutpie, test_compiled_model as t\n"
        "from her2bayes.inference.engine import compiled_model\n"
        "from her2bayes.inference.engine import compiler_flags\n"
        "with compiler_flags():\n"
        "    c = compiled_model(t.model_of_many_kinds())\n"
        "tree = nutpie.sample(c, **t.RUN)\n"
        "draws = hashlib.sha256(tree.posterior['slope'].to_numpy().tobytes()).hexdigest()\n"
        "hits = [c.compiled_logp_func.cache_hits, c.compiled_expand_func.cache_hits]\n"
        "print(json.dumps([draws, hits]))\n"
    )
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {
        "PYTENSOR_FLAGS": f"base_compiledir={tmp_path}", "PYTHONPATH": os.pathsep.join(paths),
    }  # fmt: skip
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
        for _ in range(2)
    ]
    for run in runs:
        assert run.returncode == 0, run.stderr.decode()
    (draws, hits), (again, more) = (json.loads(run.stdout.splitlines()[-1]) for run in runs)
    assert draws == again
    assert hits == [0, 0]
    assert more == [1, 1]


def test_an_entry_of_the_cache_that_cannot_be_read_is_compiled_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A truncated entry, or one that names a module of another version, is not trusted."""
    import numba

    real, model = numba.cfunc, model_of_many_kinds()

    def damaged(signature: Any, cache: bool = False) -> Any:
        if cache:
            raise ModuleNotFoundError("of a former version")
        return real(signature)

    monkeypatch.setattr(numba, "cfunc", damaged)
    with compiler_flags():
        assert compiled_model(model).n_dim > 0
    assert "compiled anew" in caplog.text
