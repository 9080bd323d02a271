"""`python -m bench`: see run.py."""

from __future__ import annotations

from bench.run import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="python -m bench")
