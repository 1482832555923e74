"""The version of the package, said here only."""

__version__ = "0.32.0"
