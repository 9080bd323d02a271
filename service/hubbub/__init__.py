"""Hubbub: a self-hosted real-time chat service that speaks Socket.IO."""

from hubbub.version import VERSION as __version__  # noqa: N811 -- PEP 396 gives the name.

__all__ = ["__version__"]
