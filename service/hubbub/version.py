"""The version of this release; one place, read by the packaging, the command line and `hello`."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
