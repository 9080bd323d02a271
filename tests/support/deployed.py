"""What is in deploy/, read as what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.tree import ROOT

__all__ = ["DEPLOY", "dockerfile", "documents", "env_of_image", "of_kind", "one_document", "seconds", "unit"]

DEPLOY: Final = ROOT / "deploy"


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file."""
    return list(YAML(typ="safe", pure=True).load_all(path.read_text(encoding="utf-8")))


def one_document(path: Path) -> Any:
    [document] = documents(path)
    return document


def of_kind(kind: str, name: str) -> Any:
    """The one resource of Kubernetes of this kind and name."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    found = [each for path in files for each in documents(path) if each.get("kind") == kind]
    [resource] = [each for each in found if each["metadata"]["name"] == name]
    return resource


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions and what they say, in order, lines that go on as one."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in whole)]


def env_of_image() -> dict[str, str]:
    """What the last stage sets in the environment."""
    stages = [number for number, (word, _) in enumerate(dockerfile()) if word == "FROM"]
    words = [rest for word, rest in dockerfile()[stages[-1] :] if word == "ENV"]
    return dict(pair.split("=", 1) for line in words for pair in line.split())


def unit(name: str) -> Mapping[str, Mapping[str, list[str]]]:
    """The sections of a unit of systemd: of each key all its values, in order."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in _plain_lines(DEPLOY / "systemd" / name):
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        else:
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def _plain_lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def seconds(text: str) -> int:
    """30 of `30s` and of `30`."""
    return int(text.removesuffix("s"))
