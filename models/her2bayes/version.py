"""Version of the package, by itself so that every file can say it."""

__version__ = "0.1.0"
