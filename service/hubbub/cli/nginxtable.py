"""The table by which Nginx finds the node of a session.

Session ids begin with the name of their node, and every request of a session names its id. So a literal table, from
names to groups of one server each, is all that Nginx has to know.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Upstream", "is_host", "node_table", "parse_node", "parse_nodes"]

_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A node: its name, as in HUBBUB_NODE, and where it listens, `HOST:PORT`."""

    name: str
    address: str


def parse_node(text: str) -> Upstream:
    """`n1=10.0.0.1:8000`, or with a space. Raises `ValueError` that says what is wrong."""
    name, _, address = re.sub(r"[=\s]+", " ", text.strip(), count=1).partition(" ")
    return _checked(name, address.strip(), text)


def parse_nodes(text: str) -> list[Upstream]:
    """A node in each line, as `n1 10.0.0.1:8000`; empty lines and what follows `#` count for nothing."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [parse_node(line) for line in lines if line]


def node_table(nodes: Iterable[Upstream]) -> str:
    """The groups and the map, in the order of the names, numbers by value. Raises `ValueError` for none, and for two
    of one name or address.
    """
    ordered = sorted(nodes, key=lambda node: _natural(node.name))
    _check_distinct(ordered)
    return "\n".join((*_everybody(ordered), *_groups(ordered), *_map(ordered), ""))


def is_host(text: str) -> bool:
    """Whether Nginx can connect to it or listen on it: an IPv4 address, an IPv6 address in brackets, or a name."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return "%" not in text and bool(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            return False
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return bool(ipaddress.IPv4Address(text))
        except ValueError:
            return False
    return _HOST.fullmatch(text) is not None


def _checked(name: str, address: str, text: str) -> Upstream:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{text!r}: a node's name is 1 to 32 small letters, digits and hyphens, as in n1=10.0.0.1:8000."
        )
    host, _, port = address.rpartition(":")
    if not is_host(host) or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r}: {name} needs a host and a port, as in n1=10.0.0.1:8000 or n1=[fd00::1]:8000.")
    return Upstream(name, address)


def _natural(name: str) -> list[tuple[int, str]]:
    """So that n2 comes before n10."""
    return [(int(part), part) if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)]


def _check_distinct(nodes: Sequence[Upstream]) -> None:
    if not nodes:
        raise ValueError("Name the nodes: --node n1=10.0.0.1:8000, or a file of them with --nodes.")
    names: set[str] = set()
    holders: dict[str, str] = {}
    for node in nodes:
        if node.name in names:
            raise ValueError(f"{node.name} is named twice.")
        other = holders.get(node.address.lower())
        if other is not None:
            raise ValueError(f"{other} and {node.name} have the same address {node.address}.")
        names.add(node.name)
        holders[node.address.lower()] = node.name


def _everybody(nodes: Sequence[Upstream]) -> list[str]:
    return [
        "# For whoever has no session yet. A node that refuses or says nothing is left out for 3 s: a newcomer who",
        "# tries it loses time, and a node that is back is soon found again.",
        "# Those who begin by polling, the page and the API go to any node. What they open later is counted elsewhere:",
        "# to look for the fewest connections here would be to look for who has no WebSockets.",
        *_group_of_all("hubbub_any", "random;", "max_fails=1 fail_timeout=3s", nodes),
        "# The same for reads of the API. A node that is left out here, for it or the store was slow, is not so above.",
        *_group_of_all("hubbub_reads", "random;", "max_fails=1 fail_timeout=3s", nodes),
        "# Those who begin with a WebSocket keep the connection on which they came. No node is left out of this group:",
        "# one that was would be tried by one newcomer in 3 s, until the first of their connections has ended. Who",
        "# meets one that is down or draining is refused at once, and goes on.",
        *_group_of_all("hubbub_websockets", "random two least_conn;", "max_fails=0", nodes),
        "",
    ]


def _group_of_all(name: str, method: str, failures: str, nodes: Sequence[Upstream]) -> list[str]:
    width = max(len(node.address) for node in nodes)
    return [
        f"upstream {name} {{",
        f"    zone {name} {_zone_kb(len(nodes))}k;",
        f"    {method}",
        *(f"    server {node.address:<{width}} {failures};  # {node.name}" for node in nodes),
        "    keepalive 32;",
        "    keepalive_timeout 60s;  # Shorter than the 75 s of the nodes: who closes first cannot meet a request.",
        "}",
    ]


def _zone_kb(count: int) -> int:
    """Shared memory for so many servers: a few hundred bytes each, and pages of 4 KB to share them out."""
    return 64 + 4 * count


def _groups(nodes: Sequence[Upstream]) -> list[str]:
    lines = ["# One group for each node. A group of one is never left out, so a node that is back answers at once."]
    for node in nodes:
        lines += [
            f"upstream hubbub_node_{node.name} {{",
            f"    server {node.address};",
            "    keepalive 32;",
            "    keepalive_timeout 60s;",
            "}",
        ]
    return [*lines, ""]


def _map(nodes: Sequence[Upstream]) -> list[str]:
    width = max(len(node.name) for node in nodes)
    return [
        "# From a session id to its node's group. Nothing of the id becomes part of where a request goes.",
        "map $arg_sid $hubbub_group {",
        '    default "";',
        '    ""      hubbub_websockets;',
        *(
            f'    "~^{node.name}\\.[A-Za-z0-9_-]{{16,64}}\\z"{"":{width - len(node.name)}} hubbub_node_{node.name};'
            for node in nodes
        ),
        "}",
    ]
