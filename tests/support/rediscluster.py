"""A real Redis Cluster: a few redis-servers, each a process of its own, formed by the commands of the cluster alone."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from tests.support.redisserver import RunningRedis

__all__ = ["RunningCluster", "running_cluster", "running_member"]

FORM_S: Final = 30.0
SLOTS: Final = 16_384
_TRIES: Final = 5


class RunningCluster:
    """`masters` share the slots in equal parts, in order; `replicas[n]` is that of `masters[n]`."""

    def __init__(self, masters: list[RunningRedis], replicas: list[RunningRedis]) -> None:
        self.masters = masters
        self.replicas = replicas

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.masters[0].port}"

    @property
    def servers(self) -> list[RunningRedis]:
        return [*self.masters, *self.replicas]

    def slots(self, number: int) -> tuple[int, int]:
        """The first and the last slot of the master of this number, as it was in the beginning."""
        each = SLOTS // len(self.masters)
        return number * each, SLOTS - 1 if number == len(self.masters) - 1 else (number + 1) * each - 1

    def owner(self, slot: int) -> int:
        """The number of the master that has this slot, as it was in the beginning."""
        return min(slot // (SLOTS // len(self.masters)), len(self.masters) - 1)

    def ask(self, server: RunningRedis, *words: object) -> Any:
        with Redis(port=server.port, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*words)

    def facts(self, server: RunningRedis, section: str) -> dict[str, Any]:
        with Redis(port=server.port, socket_timeout=5) as client:
            facts: dict[str, Any] = client.info(section)
        return facts

    def counts(self, server: RunningRedis) -> dict[str, str]:
        """CLUSTER INFO."""
        with Redis(port=server.port, socket_timeout=5, decode_responses=True) as client:
            answer: dict[str, str] = client.execute_command("CLUSTER INFO")
        return answer

    def move(self, slot: int, source: int, target: int) -> None:
        """Give a slot without keys to another master, as resharding does it."""
        ids = [self.ask(server, "CLUSTER", "MYID") for server in self.masters]
        self.ask(self.masters[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        self.ask(self.masters[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        for number in (target, source):
            self.ask(self.masters[number], "CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def form(self) -> None:
        """Make one cluster of the servers, and return when all of them know all."""
        for number, master in enumerate(self.masters):
            self.ask(master, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            self.ask(master, "CLUSTER", "ADDSLOTSRANGE", *self.slots(number))
        first = self.masters[0]
        for server in self.servers[1:]:
            self.ask(server, "CLUSTER", "MEET", "127.0.0.1", first.port, _bus_port(first))
        known, assigned = str(len(self.servers)), str(SLOTS)
        self._wait_told(cluster_known_nodes=known, cluster_slots_assigned=assigned)
        for master, replica in zip(self.masters, self.replicas, strict=bool(self.replicas)):
            self.ask(replica, "CLUSTER", "REPLICATE", self.ask(master, "CLUSTER", "MYID"))
        _wait(lambda: all(self.facts(each, "replication").get("master_link_status") == "up" for each in self.replicas))
        _wait(lambda: all(self._replicas_known(server) == len(self.replicas) for server in self.servers))

    def wait_whole(self) -> None:
        """Return when every server takes commands on keys; channels it carries before that. A master that has just been
        started waits for two seconds.
        """
        self._wait_told(cluster_state="ok")

    def _wait_told(self, **what: str) -> None:
        _wait(lambda: all(what.items() <= self.counts(server).items() for server in self.servers))

    def _replicas_known(self, server: RunningRedis) -> int:
        """How many replicas a server knows of all masters: each entry of CLUSTER SLOTS has them behind its master."""
        return sum(len(entry) - 3 for entry in self.ask(server, "CLUSTER", "SLOTS"))


def _wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FORM_S
    while True:
        with contextlib.suppress(RedisError):
            if what():
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the servers do not become a cluster")
        time.sleep(0.02)


def _bus_port(server: RunningRedis) -> int:
    return int(server.options[server.options.index("--cluster-port") + 1])


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _server(directory: Path, options: Sequence[str]) -> RunningRedis:
    directory.mkdir()
    for tries_left in reversed(range(_TRIES)):
        port, bus_port = _free_ports()
        running = RunningRedis(port, directory, ("--cluster-enabled", "yes", "--cluster-port", str(bus_port), *options))
        try:
            running.start()
        except RuntimeError:
            running.kill()
            if not tries_left:
                raise
        else:
            return running
    raise RuntimeError("no port is free")


@contextlib.contextmanager
def running_member() -> Iterator[RunningRedis]:
    """A server of a cluster that has met no other and has no slot."""
    with tempfile.TemporaryDirectory(prefix="hubbub-redis-") as directory:
        server = _server(Path(directory) / "0", ())
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def running_cluster(
    *options: str, with_replicas: bool = False, node_timeout_ms: int = 2000, is_whole: bool = True
) -> Iterator[RunningCluster]:
    """Three masters, with a replica each if wanted, that know each other. `options` are further ones of each server;
    without `is_whole` they may not take commands on keys yet.
    """
    # A replica that has not been pinged by its master once is in no map of slots yet.
    at_once = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
    own = ("--cluster-node-timeout", str(node_timeout_ms), *at_once, *options)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hubbub-redis-")))
        servers: list[RunningRedis] = []
        while len(servers) < (6 if with_replicas else 3):
            server = _server(directory / str(len(servers)), own)
            stack.callback(server.kill)
            servers.append(server)
        cluster = RunningCluster(servers[:3], servers[3:])
        cluster.form()
        if is_whole:
            cluster.wait_whole()
        yield cluster
