"""Redis as operators have it: over TLS, with a password, with a user of few rights, and behind three sentinels."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from tests.support.halting import halt
from tests.support.redisserver import RunningRedis, running_redis

__all__ = [
    "RIGHTS",
    "SERVICE",
    "Authority",
    "RunningSentinels",
    "TlsRedis",
    "running_guard",
    "running_sentinels",
    "running_tls",
]

SERVICE: Final = "chat"
RIGHTS: Final = ("~hubbub:*", "&hubbub:*", "&socketio", "+@all", "-@dangerous")
"""What the documentation says that the user of a node needs."""

WAIT_S: Final = 30.0
_TRIES: Final = 5


class Authority:
    """An authority that nobody else knows, in `ca`, and a certificate of this machine by it, in `cert` and `key`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ca, self.cert, self.key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        own, its = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = _name(f"authority {directory.name}")
        authority = _certificate(issuer, issuer, own.public_key()).add_extension(x509.BasicConstraints(True, 0), True)
        usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
        known = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
        authority = authority.add_extension(usage, True).add_extension(known, False)
        self.ca.write_bytes(authority.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        from_known = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
        server = _certificate(_name("redis"), issuer, its.public_key()).add_extension(names, False)
        server = server.add_extension(from_known, False)
        self.cert.write_bytes(server.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.TraditionalOpenSSL
        self.key.write_bytes(its.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(who: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return x509.CertificateBuilder(issuer, who, key, x509.random_serial_number(), now - day, now + day)


@dataclass(eq=False)
class TlsRedis:
    """A server that only speaks TLS. Its default user has `password`; `user` has the password too, and `RIGHTS`."""

    port: int
    authority: Authority
    password: str
    user: str = "hubbub"

    @property
    def query(self) -> str:
        return f"?ssl_ca_certs={self.authority.ca}"

    @property
    def url(self) -> str:
        """As `user`."""
        return f"rediss://{self.user}:{self.password}@127.0.0.1:{self.port}/0{self.query}"

    def ask(self, *words: object) -> Any:
        """As the default user."""
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self.authority.ca)}
        with Redis(
            "127.0.0.1", self.port, password=self.password, socket_timeout=5, decode_responses=True, **tls
        ) as client:
            return client.execute_command(*words)


@contextlib.contextmanager
def running_tls(password: str) -> Iterator[TlsRedis]:
    with tempfile.TemporaryDirectory(prefix="hubbub-redis-") as directory:
        authority = Authority(Path(directory) / "tls")
        for tries_left in reversed(range(_TRIES)):
            server = TlsRedis(_free_port(), authority, password)
            process = _spawn(
                Path(directory),
                *("--port", "0", "--tls-port", server.port, "--tls-auth-clients", "no"),
                *("--tls-cert-file", authority.cert, "--tls-key-file", authority.key),
                *("--tls-ca-cert-file", authority.ca, "--requirepass", password, "--save", ""),
            )
            try:
                _wait(lambda server=server: server.ask("PING"), process)  # type: ignore[misc]
                server.ask("ACL", "SETUSER", server.user, "on", f">{password}", "resetchannels", *RIGHTS)
                yield server
                return
            except ProcessLookupError:
                if not tries_left:
                    raise
            finally:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running_guard(server: TlsRedis, password: str) -> Iterator[str]:
    """A sentinel that only speaks TLS, wants a password of its own, and watches a server that does so. Yields
    its address, without that password.
    """
    with tempfile.TemporaryDirectory(prefix="hubbub-sentinels-") as directory:
        conf, authority = Path(directory) / "sentinel.conf", server.authority
        for tries_left in reversed(range(_TRIES)):
            port = _free_port()
            conf.write_text(
                f"port 0\ntls-port {port}\nbind 127.0.0.1\ntls-auth-clients no\ntls-replication yes\n"
                f"tls-cert-file {authority.cert}\ntls-key-file {authority.key}\ntls-ca-cert-file {authority.ca}\n"
                f"requirepass {password}\nsentinel monitor {SERVICE} 127.0.0.1 {server.port} 1\n"
                f"sentinel auth-pass {SERVICE} {server.password}\n"
            )
            guard = TlsRedis(port, authority, password)
            process = _spawn(Path(directory), "--sentinel", conf=conf)
            try:
                _wait(lambda guard=guard: guard.ask("PING"), process)  # type: ignore[misc]
                login = f"{server.user}:{server.password}"
                yield f"rediss+sentinel://{login}@127.0.0.1:{port}/0/{SERVICE}{server.query}"
                return
            except ProcessLookupError:
                if not tries_left:
                    raise
            finally:
                process.kill()
                process.wait()


class RunningSentinels:
    """`servers` are the one that was the master in the beginning and its replica; all are without a password."""

    def __init__(self, servers: tuple[RunningRedis, RunningRedis]) -> None:
        self.servers = servers
        self.ports: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/0/{SERVICE}"

    @property
    def master(self) -> RunningRedis:
        """The one that the first sentinel names."""
        _, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def other(self) -> RunningRedis:
        """The one that is not the master."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def ask(self, *words: object, port: int | None = None) -> Any:
        """Ask the first sentinel, or the server at this port."""
        at = self.ports[0] if port is None else port
        with Redis("127.0.0.1", at, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*words)

    def role(self, server: RunningRedis) -> list[Any]:
        """What the server says that it is, or nothing while it is away."""
        with contextlib.suppress(RedisError):
            role: list[Any] = self.ask("ROLE", port=server.port)
            return role
        return []

    def follows(self, server: RunningRedis, master: RunningRedis) -> bool:
        """Whether it is a replica of this master, and has everything that this has."""
        role = self.role(server)
        return role[:1] == ["slave"] and role[2] == master.port and role[3] == "connected"

    def freeze(self) -> None:
        """No sentinel does anything."""
        for process in self.processes:
            halt(process.pid)

    def thaw(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def start(self, directory: Path) -> None:
        for number in range(3):
            at = directory / str(number)
            at.mkdir()
            self._start_one(at)
        _wait(lambda: all(self._is_ready(port) for port in self.ports))

    def _start_one(self, directory: Path) -> None:
        for tries_left in reversed(range(_TRIES)):
            port = _free_port()
            (directory / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
            )
            process = _spawn(directory, "--sentinel", conf=directory / "sentinel.conf")
            self.processes.append(process)
            try:
                _wait(lambda port=port: self.ask("PING", port=port), process)  # type: ignore[misc]
                self.ports.append(port)
                return
            except ProcessLookupError:
                if not tries_left:
                    raise

    def _is_ready(self, port: int) -> bool:
        """Whether this sentinel knows the replica and the other two sentinels."""
        words = self.ask("SENTINEL", "MASTER", SERVICE, port=port)
        told = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
        return (int(told["num-slaves"]), int(told["num-other-sentinels"])) == (1, 2)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_sentinels() -> Iterator[RunningSentinels]:
    """A master, a replica that follows it, and three sentinels that know each other."""
    # A replica that is to be found at once is synchronised at once, and heard of each second.
    options = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(running_redis(*options))
        replica = stack.enter_context(running_redis("--replicaof", f"127.0.0.1 {master.port}", *options))
        sentinels = RunningSentinels((master, replica))
        _wait(lambda: sentinels.follows(replica, master))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hubbub-sentinels-")))
        stack.callback(sentinels.kill)
        sentinels.start(directory)
        yield sentinels


def _spawn(directory: Path, *options: object, conf: Path | None = None) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed: apt-get install redis-server")
    words = [program, *([str(conf)] if conf else ["--bind", "127.0.0.1"]), "--dir", str(directory), *map(str, options)]
    with (directory / "redis.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _wait(what: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Return when it is true. `ProcessLookupError` if the process has ended: its port may have been taken meanwhile."""
    deadline = time.monotonic() + WAIT_S
    failure: RedisError | None = None
    while True:
        try:
            if what():
                return
        except RedisError as error:
            failure = error
        if process is not None and process.poll() is not None:
            raise ProcessLookupError("redis-server ended by itself")
        if time.monotonic() > deadline:
            raise RuntimeError("redis-server does not become what it is to be") from failure
        time.sleep(0.02)
