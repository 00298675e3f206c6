"""How ``scripts/run`` finds a Python: by running candidates, in a stated order."""

from __future__ import annotations

import shutil

from .checkout import FULL, Checkout


def test_broken_shims_and_old_versions_are_passed_over(checkout: Checkout) -> None:
    for name in ("python3.14", "python3.13", "python3.12", "python"):
        checkout.shim(checkout.bin / name)
    checkout.python(checkout.bin / "python3", "old")
    checkout.shim(checkout.home / ".pyenv/versions/3.14.1/bin/python")
    checkout.pyenv("3.9.18", "old")
    checkout.pyenv("3.12.9")
    checkout.pyenv("3.12.10")
    checkout.pyenv("miniconda3-latest")
    code, out, err = checkout.run("show")
    assert code == 0, err
    assert "'STUB_VERSION': '3.12.10'" in out


def test_pythons_on_path_come_before_pyenvs(checkout: Checkout) -> None:
    checkout.pyenv("3.14.0")
    checkout.python(checkout.bin / "python3", "3.12.0")
    assert "'STUB_VERSION': '3.12.0'" in checkout.run("show")[1]


def test_pyenv_root_and_uv_folders_are_searched(checkout: Checkout) -> None:
    uv = checkout.home / ".local/share/uv/python/cpython-3.13.2-linux-x86_64-gnu/bin/python"
    checkout.python(uv, "3.13.2")
    assert "'STUB_VERSION': '3.13.2'" in checkout.run("show")[1]
    shutil.rmtree(checkout.root / ".venv")
    root = checkout.folder / "elsewhere"
    checkout.python(root / "versions" / "3.12.5" / "bin" / "python", "3.12.5")
    assert "'STUB_VERSION': '3.12.5'" in checkout.run("show", PYENV_ROOT=str(root))[1]


def test_without_a_python_one_message_says_what_was_tried_and_what_helps(
    checkout: Checkout,
) -> None:
    checkout.shim(checkout.bin / "python3.13")
    old = checkout.pyenv("3.11.7", "old")
    code, out, err = checkout.run("show")
    assert (code, out) == (2, "")
    assert f"{checkout.bin}/python3.13: pyenv: python3.13: command not found" in err
    assert f"{old}: is 3.11.7" in err
    assert "--python PATH" in err
    assert "--download" in err
    assert not (checkout.root / ".venv").exists()


def test_nothing_is_downloaded_unless_allowed(checkout: Checkout) -> None:
    fetched = checkout.folder / "fetched" / "python"
    uv = checkout.bin / "uv"
    uv.write_text(
        f'#!/bin/sh\necho "uv $1 $2" >> "{checkout.journal}"\n'
        f'case "$2" in find) echo "{fetched}" ;; esac\n'
    )
    uv.chmod(0o755)
    checkout.python(fetched, "3.13.9")
    assert checkout.run("show")[0] == 2
    assert checkout.steps() == []
    code, out, _ = checkout.run("--download", "show")
    assert code == 0
    assert "'STUB_VERSION': '3.13.9'" in out
    assert checkout.steps() == ["uv --version ", "uv python install", "uv python find", *FULL]


def test_a_download_needs_uv(checkout: Checkout) -> None:
    code, _, err = checkout.run("show", HER2_DOWNLOAD="1")
    assert code == 2
    assert "download: needs uv on PATH" in err


def test_a_named_python_is_used_or_refused_but_never_replaced(checkout: Checkout) -> None:
    checkout.pyenv("3.13.0")
    mine = checkout.python(checkout.folder / "mine" / "python", "3.12.7")
    old = checkout.pyenv("3.11.7", "old")
    for arguments, extra in [
        (("--python", str(old), "show"), {}),
        (("show",), {"HER2_PYTHON": "nix"}),
    ]:
        code, out, err = checkout.run(*arguments, **extra)
        assert (code, out) == (2, "")
        assert "cannot be used" in err
    assert "'STUB_VERSION': '3.12.7'" in checkout.run(f"--python={mine}", "show")[1]
    assert checkout.steps() == FULL
    # The choice lasts, for plain calls and for repairs, until another is named.
    assert "'STUB_VERSION': '3.12.7'" in checkout.run("show", HER2_PYTHON=str(mine))[1]
    assert "'STUB_VERSION': '3.12.7'" in checkout.run("show")[1]
    assert checkout.steps() == []
    (checkout.root / "requirements" / "base.txt").write_text("base==2 --hash=sha256:0\n")
    assert "'STUB_VERSION': '3.12.7'" in checkout.run("show")[1]
    assert checkout.steps() == FULL
    other = checkout.home / ".pyenv/versions/3.13.0/bin/python"
    assert "'STUB_VERSION': '3.13.0'" in checkout.run("--python", str(other), "show")[1]
    assert checkout.steps() == FULL
