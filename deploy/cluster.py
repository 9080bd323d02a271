"""`make cluster`: three nodes, Redis, Nginx and a MongoDB-wire server on this machine, without containers.

All of them are children of this process, which tells of each that ends. Ctrl-C ends them, and only them: nodes first,
which let their clients go, then what they need. SIGUSR1 starts again whatever is not there, on the port that it had.
If this process is killed, the kernel ends the children (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from hubbub.settings import SettingsError, load

ROOT: Final = Path(__file__).resolve().parents[1]
START_S: Final = 60.0
"""A small machine starts three interpreters at once in some seconds; a cold disk takes longer."""

START_EACH_S: Final = 3.0
"""So much longer for each part that starts at the same time: a core takes about a second for each."""

STOP_MARGIN_S: Final = 10.0
"""What a node may take to finish writing after HUBBUB_DRAIN_S; supervisors are told the same."""

ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
HEARD: Final = ENDING | {signal.SIGUSR1, signal.SIGCHLD}
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


class ClusterError(Exception):
    """Why there is no cluster, for the person who wanted one."""


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # The terminal may be gone, which is no reason to leave anything running.
        print(f"hubbub: {text}", flush=True)


def is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError:
            return False
    return True


def next_free(host: str, port: int, *, taken: Sequence[int] = ()) -> int:
    """The first port from `port` on that nobody has. Such ports are below those that the system gives to clients."""
    for candidate in range(port, port + 1000):
        if candidate not in taken and is_free(host, candidate):
            return candidate
    raise ClusterError(f"There is no free port from {port} on.")


def status_of(host: str, port: int, path: str) -> int | None:
    """The status of a GET; None if nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answers_ping(port: int) -> bool:
    """Whether a Redis is there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(eq=False)
class Part:
    """One program of the cluster. `is_ready` is asked again and again after a start; `run` has a file with its pid."""

    name: str
    command: Sequence[str]
    directory: Path
    is_ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = STOP_MARGIN_S
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / "run" / f"{self.name}.pid"

    def start(self) -> None:
        parent = os.getpid()

        def in_the_child() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        with self.log.open("ab") as log:
            # A session of its own, because a terminal sends Ctrl-C to all of the group in front at once.
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=in_the_child,  # There are no threads here.
            )
        self.pid_file.write_text(f"{self.process.pid}\n", encoding="ascii")

    def ended(self) -> int | None:
        """Its status, once, if it has ended."""
        status = self.process.poll() if self.process is not None else None
        if status is not None:
            self.process = None
            self.pid_file.unlink(missing_ok=True)
        return status

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-5:])


class Cluster:
    """The parts, in the order of their start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parts: list[Part] = []

    @property
    def directory(self) -> Path:
        return self._directory

    def start(self, *parts: Part) -> None:
        """Start them, and return when all are ready. Raises `ClusterError` if one ends or does not become so."""
        for part in parts:
            self._parts.append(part)
            part.start()
        within_s = START_S + START_EACH_S * len(parts)
        deadline = time.monotonic() + within_s
        waiting = list(parts)
        while waiting := [part for part in waiting if not part.is_ready()]:
            for part in waiting:
                if (status := part.ended()) is not None:
                    raise ClusterError(f"{part.name} {how_it_ended(status)}; {part.log} ends so:\n{part.last_words()}")
                if time.monotonic() > deadline:
                    raise ClusterError(f"{part.name} is not ready after {within_s:g} s; see {part.log}.")
            if self._heard(0.05) in ENDING:
                raise KeyboardInterrupt

    def watch(self) -> None:
        """Tell of each part that ends, and start those that are not there when asked to; returns when told to stop."""
        while (number := signal.sigwait(HEARD)) not in ENDING:
            self._tell_of_ended()
            if number == signal.SIGUSR1:
                for part in self._parts:
                    if part.process is None:
                        part.start()
                        say(f"{part.name} is started again")

    def stop(self) -> None:
        """End all, the last that was started first; those of a kind together. A second Ctrl-C ends them at once."""
        say("stopping; once more Ctrl-C stops at once")
        waits = [(group, max(part.stop_s for part in group)) for group in self._groups()]
        for group, stop_s in waits:
            for part in group:
                part.send(signal.SIGTERM)
            deadline = time.monotonic() + stop_s
            while any(part.process is not None and part.ended() is None for part in group):
                if self._heard(0.1) in ENDING or time.monotonic() > deadline:
                    for part in group:
                        if part.process is not None:
                            say(f"{part.name} is killed")
                            part.send(signal.SIGKILL)
        say("stopped")

    def _groups(self) -> Iterator[list[Part]]:
        nodes = [part for part in self._parts if "HUBBUB_NODE" in part.environ]
        yield from ([nodes] if nodes else [])
        yield from ([part] for part in reversed(self._parts) if part not in nodes)

    def _tell_of_ended(self) -> None:
        for part in self._parts:
            if (status := part.ended()) is not None:
                say(
                    f"{part.name} {how_it_ended(status)}; its log is {part.log}, and `kill -USR1 {os.getpid()}` starts"
                    " it again"
                )

    def _heard(self, within_s: float) -> int | None:
        info = signal.sigtimedwait(HEARD, within_s)
        return None if info is None else info.si_signo


def how_it_ended(status: int) -> str:
    if status >= 0:
        return f"has ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


# -- what it consists of -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything will be. `host` is where the front door is opened; all else is on loopback."""

    host: str
    front: int
    nodes: Mapping[str, int]
    store: str | None
    redis: str | None
    mongo_port: int
    redis_port: int
    drain_s: float

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.front}"

    @property
    def store_url(self) -> str:
        return self.store or f"mongodb://127.0.0.1:{self.mongo_port}/hubbub"

    @property
    def redis_url(self) -> str:
        return self.redis or f"redis://127.0.0.1:{self.redis_port}/0"


def planned(environ: Mapping[str, str], *, nodes: int) -> Plan:
    """Ports that are free now. HUBBUB_HOST and HUBBUB_PORT are those of the front door; all other settings are those of
    the nodes. Raises `ClusterError` if there is something that these would not take.
    """
    store = environ.get("HUBBUB_STORE")
    if store is not None and not store.startswith(("mongodb://", "mongodb+srv://")):
        raise ClusterError("HUBBUB_STORE is no MongoDB, and several nodes cannot share anything else.")
    host = environ.get("HUBBUB_HOST", "127.0.0.1")
    try:
        settings = load({**environ, "HUBBUB_NODE": "n1"}, config=None, overrides={})
    except SettingsError as error:
        raise ClusterError(" ".join(error.problems)) from None
    given = environ.get("HUBBUB_PORT")
    if given is not None and not is_free(host, int(given)):
        raise ClusterError(f"Port {given} of {host} is taken; choose another by HUBBUB_PORT.")
    front = int(given) if given else next_free(host, 8080)
    taken = [front]
    for _ in range(nodes):
        taken.append(next_free("127.0.0.1", front + 1, taken=taken))
    named = {f"n{number}": port for number, port in enumerate(taken[1:], 1)}
    return Plan(
        host=host,
        front=front,
        nodes=named,
        store=store,
        redis=environ.get("HUBBUB_REDIS"),
        mongo_port=next_free("127.0.0.1", 27018, taken=taken),
        redis_port=next_free("127.0.0.1", 6380, taken=taken),
        drain_s=settings.drain_s,
    )


def program(name: str) -> str:
    """Where a program is. Debian has some where only administrators look."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ClusterError(f"{name} is not installed; `make cluster` installs it where it may.")
    return found


def mongo_part(plan: Plan, directory: Path, environ: Mapping[str, str]) -> Part:
    """SecantusDB, of the development environment; its data stays in `directory`."""
    data = directory / "mongo"
    command = [
        *(sys.executable, "-c", "import sys; from secantus.cli import main; sys.exit(main(sys.argv[1:]))"),
        *("--host", "127.0.0.1", "--port", str(plan.mongo_port), "--storage-path", str(data)),
        *("--cache-size", "64M", "--log-level", "WARNING", "--sync-on-commit"),
    ]
    # So that no configuration of the user is read.
    return Part("mongo", command, directory, lambda: is_listening(plan.mongo_port), {**environ, "HOME": str(directory)})


def redis_part(plan: Plan, directory: Path, environ: Mapping[str, str]) -> Part:
    """It keeps nothing on disk: all that is in it is of the moment."""
    command = [
        program("redis-server"),
        *("--port", str(plan.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
    ]
    return Part("redis", command, directory, lambda: answers_ping(plan.redis_port), environ)


def node_part(name: str, port: int, plan: Plan, directory: Path, environ: Mapping[str, str]) -> Part:
    settings = {
        "HUBBUB_NODE": name,
        "HUBBUB_HOST": "127.0.0.1",
        "HUBBUB_PORT": str(port),
        "HUBBUB_STORE": plan.store_url,
        "HUBBUB_REDIS": plan.redis_url,
        "HUBBUB_TRUSTED_PROXIES": "127.0.0.1,::1",
    }
    return Part(
        name,
        [sys.executable, "-m", "hubbub", "serve"],
        directory,
        lambda: status_of("127.0.0.1", port, "/readyz") == 200,
        {**environ, **settings},
        stop_s=plan.drain_s + STOP_MARGIN_S,
    )


def nginx_part(plan: Plan, directory: Path, environ: Mapping[str, str]) -> Part:
    """With what `hubbub nginx-conf` writes for these nodes."""
    home = directory / "nginx"
    home.mkdir(exist_ok=True)
    (directory / "nodes.txt").write_text(
        "".join(f"{name} 127.0.0.1:{port}\n" for name, port in plan.nodes.items()), encoding="ascii"
    )
    written = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "hubbub", "nginx-conf", "--nodes", str(directory / "nodes.txt")),
            *("--listen", plan.url.removeprefix("http://"), "--directory", str(home)),
        ],
        env={key: value for key, value in environ.items() if key not in ("HUBBUB_STORE", "HUBBUB_REDIS")},
        capture_output=True,
        text=True,
        check=False,
    )
    if written.returncode != 0:
        raise ClusterError(f"There is no configuration of Nginx: {written.stderr.strip()}")
    path = home / "nginx.conf"
    path.write_text(written.stdout, encoding="utf-8")
    command = [program("nginx"), "-p", str(home), "-c", str(path), "-g", "daemon off;"]
    return Part("nginx", command, directory, lambda: status_of(plan.host, plan.front, "/") is not None, environ)


def guide(plan: Plan, directory: Path) -> str:
    """Where to look."""
    nodes = "\n".join(f"    {name}      http://127.0.0.1:{port}/metrics" for name, port in plan.nodes.items())
    return f"""
  the page  {plan.url}/
  admin     {plan.url}/admin/  (`.venv/bin/hubbub token --user me --role admin` prints a token)
  metrics, and /readyz, of each node itself:
{nodes}
  logs      {directory}/*.log, {directory}/nginx/access.log
  Redis     {"as HUBBUB_REDIS says" if plan.redis else plan.redis_url}
  MongoDB   {"as HUBBUB_STORE says" if plan.store else plan.store_url}

  Restart one node after another:  deploy/rolling-restart --cluster {directory}
  Try what happens:                kill -9 $(cat {directory}/run/n1.pid)
  Start again what is not there:   kill -USR1 {os.getpid()}
  Ctrl-C stops everything.
"""


def run(directory: Path, *, nodes: int) -> None:
    """Until it is told to stop. Raises `ClusterError`."""
    environ = dict(os.environ)
    plan = planned(environ, nodes=nodes)
    cluster = Cluster(directory)
    say("starting; the first time takes some seconds")
    try:
        needed = [] if plan.store else [mongo_part(plan, directory, environ)]
        needed += [] if plan.redis else [redis_part(plan, directory, environ)]
        cluster.start(*needed)
        cluster.start(*(node_part(name, port, plan, directory, environ) for name, port in plan.nodes.items()))
        cluster.start(nginx_part(plan, directory, environ))
        print(guide(plan, directory), flush=True)
        cluster.watch()
    except KeyboardInterrupt:
        pass  # While it was starting: signals are waited for, and interrupt nothing.
    finally:
        cluster.stop()


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[TextIO]:
    """Nobody else has this directory; the lock goes with the process. Its file has the process's id."""
    with (directory / "pid").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ClusterError(f"A cluster runs in {directory} already, by process {file.read().strip()}.") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text):
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 99")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make cluster", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, default=ROOT / "var" / "cluster", help="for logs, pids and data")
    parser.add_argument("--nodes", type=_count, default=3, metavar="N", help="how many, 1 to 99; 3 by default")
    given = parser.parse_args()
    directory: Path = given.directory.absolute()
    (directory / "run").mkdir(parents=True, exist_ok=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        with alone(directory):
            run(directory, nodes=given.nodes)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
