"""Install a wheel (the argument) elsewhere and use it beside files named like our folders."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

HOSTILE = ("data", "models", "scripts", "tests", "reports", "estimand", "errors", "audit")

USE = """
import importlib, pathlib, pkgutil, sys
import her2bayes
from her2bayes.evidence.printed.study import load_study, published_folder

package = pathlib.Path(her2bayes.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert (package / "py.typed").is_file()
names = [module.name for module in pkgutil.walk_packages(her2bayes.__path__, "her2bayes.")]
for name in names:
    importlib.import_module(name)
folder = published_folder()
assert folder.is_relative_to(package), folder
studies = [load_study(folder / name) for name in ("shi2023", "ni2025")]
rows = [len(study.ledger) for study in studies]
print(f"her2bayes {her2bayes.__version__}: {len(names)} modules, {rows} rows from {folder}")
"""


def main(wheel: Path) -> None:
    """Fail unless the installed wheel imports whole and finds its data."""
    files = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in files}
    assert tops == {"her2bayes", "-".join(wheel.name.split("-")[:2]) + ".dist-info"}, tops
    assert any(name.endswith("licenses/LICENSE") for name in files)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv.create(place / "env", symlinks=True)
        python = place / "env" / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
        # A path line brings the dependencies but not the checkout, which a .pth file links.
        packages = next((place / "env" / "lib").glob("python*/site-packages"))
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        hostile = place / "hostile"
        hostile.mkdir()
        for module in HOSTILE:
            (hostile / f"{module}.py").write_text("raise ImportError('the wrong file')\n")
        subprocess.run([python, "-W", "error", "-c", USE], cwd=hostile, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
