"""What a fit leaves behind it in the folder for temporary files: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
from her2bayes.inference.fit import fit
from her2bayes.inference.sampling import Sampling
fit(conftest.build, conftest.centres([2, 30], "ab"), sampling=Sampling(20, 20, 2))
"""


@pytest.mark.slow
def test_a_fit_leaves_no_temporary_file(tmp_path: Path) -> None:
    """PyTensor writes the source of functions; without a folder for it, to tmp????????."""
    space = tmp_path / "space"
    space.mkdir()
    flags = f"base_compiledir={tmp_path / 'cache'}"  # without the folder that the tests set
    environment = os.environ | {"TMPDIR": str(space), "PYTENSOR_FLAGS": flags}
    command = [sys.executable, "-P", "-c", CODE, str(Path(__file__).parent)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert list(space.iterdir()) == []
