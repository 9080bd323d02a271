"""Hubbub: a self-hosted real-time chat service that speaks Socket.IO."""

from hubbub.version import VERSION as __version__

__all__ = ["__version__"]
