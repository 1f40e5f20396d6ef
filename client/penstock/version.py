"""The version of this package, in a file of its own for those who need it early."""

__version__ = "0.1.0"
