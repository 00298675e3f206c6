"""A real environment from a real hashed lock, on a wheel made here."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import zipfile
from pathlib import Path

from .checkout import Checkout

INFO = "tinypackage-1.0.dist-info"


def wheel(folder: Path) -> str:
    """Write a wheel of one module and return its hash."""
    folder.mkdir(parents=True)
    path = folder / "tinypackage-1.0-py3-none-any.whl"
    files = {
        "tinypackage.py": "VALUE = 42\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            record += f"{name},sha256={digest.decode()},{len(text)}\n"
        archive.writestr(f"{INFO}/RECORD", record)
    return hashlib.sha256(path.read_bytes()).hexdigest()


BACKEND = """
import zipfile
NAME = "project-1.0-py3-none-any.whl"
FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}
def build_editable(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/{NAME}", "w") as archive:
        for name, text in FILES.items():
            archive.writestr(f"project-1.0.dist-info/{name}", text)
    return NAME
"""


def test_a_real_environment_holds_what_the_hashes_vouch_for(checkout: Checkout) -> None:
    digest = wheel(checkout.folder / "wheels")
    checkout.script(
        "value", "import tinypackage\nprint(tinypackage.VALUE, tinypackage.__cached__)\n"
    )
    requirements = checkout.root / "requirements"
    (requirements / "base.txt").write_text(f"tinypackage==1.0 --hash=sha256:{digest}\n")
    (requirements / "build.txt").write_text("# nothing\n")
    (checkout.root / "backend.py").write_text(BACKEND)
    (checkout.root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "project"\nversion = "1.0"\n'
    )
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(checkout.folder / "wheels")}
    settings |= {"PYTHONDONTWRITEBYTECODE": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_USER": "1"}
    code, out, err = checkout.run("--python", sys.executable, "value", **settings)
    assert code == 0, err
    value, cached = out.split(" ", 1)
    assert value == "42"
    assert Path(cached.strip()).is_file()

    (requirements / "base.txt").write_text(f"tinypackage==1.0 --hash=sha256:{'0' * 64}\n")
    code, out, err = checkout.run("value", **settings)
    assert (code, out) == (1, "")
    assert "HASH" in err.upper()
