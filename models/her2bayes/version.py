"""Versions: of the package, by itself so that every file can say it, and of the libraries."""

__version__ = "0.1.0"

LIBRARIES = (
    "pymc", "pytensor", "nutpie", "llvmlite", "numba", "numpy", "scipy", "xarray", "arviz-stats",
)  # fmt: skip
"""What numbers may depend on besides the package."""


def versions() -> dict[str, str]:
    """Read library versions from installed metadata, without importing any of them."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
