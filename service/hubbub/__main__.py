"""`python -m hubbub` is `hubbub`."""

from __future__ import annotations

from hubbub.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
