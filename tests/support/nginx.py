"""The real Nginx, as a process of the test's own, on ports that the system chose."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hubbub.cli import main
from tests.support.service import RunningService, start_service

__all__ = [
    "LogLine",
    "RunningNginx",
    "Trio",
    "check_configuration",
    "find_nginx",
    "nginx_conf",
    "running_nginx",
    "running_trio",
    "start_node",
    "write_certificate",
]

STOP_TIMEOUT_S: Final = 20.0
_LINE: Final = re.compile(
    r"(?P<client>\S+) \[[^]]+\] \"(?P<request>.*)\" (?P<status>\d+) \d+ (?P<took_s>[\d.]+) "
    r"node=(?P<asked>.*) answers=(?P<answers>.*) \"(?P<agent>[^\"]*)\"\n"
)


def find_nginx() -> str:
    """Debian has it where only administrators look for programs."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found is not None, "Nginx is needed for this test; `make test` brings it."
    return found


def nginx_conf(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """`hubbub nginx-conf`, with no settings but these."""
    others = {name: None for name in os.environ if name.startswith("HUBBUB_")}
    return CliRunner(env={**others, **(environ or {})}).invoke(main, ["nginx-conf", *arguments])


def check_configuration(path: Path, *, directory: Path) -> str:
    """What `nginx -t` says against a configuration; empty if it has nothing against it."""
    finished = subprocess.run(
        [find_nginx(), "-t", "-q", "-p", str(directory), "-c", str(path)], capture_output=True, text=True, check=False
    )
    return finished.stderr if finished.returncode == 0 else finished.stderr or "failed"


def write_certificate(directory: Path, name: str) -> tuple[str, str]:
    """A certificate for `name` and 127.0.0.1 that vouches for itself, and its key: where they are."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = (directory / "cert.pem", directory / "key.pem")
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(paths[0]), str(paths[1])


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the access log. `asked` and `answers` are of the nodes, one after another."""

    client: str
    request: str
    status: int
    took_s: float
    asked: str
    answers: str
    agent: str


@dataclass(eq=False)
class RunningNginx:
    """`name` is the host that it answers for; None: any."""

    process: asyncio.subprocess.Process
    directory: Path
    port: int
    plain_port: int
    scheme: str
    name: str | None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def reload(self, edit: Callable[[str], str]) -> None:
        """Change the configuration, and have Nginx load it. Old workers stay for those who are connected."""
        path = self.directory / "nginx.conf"
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> list[LogLine]:
        lines = (self.directory / "access.log").read_text(encoding="utf-8").splitlines(keepends=True)
        return [self._parsed(line) for line in lines]

    async def line_where(self, condition: Callable[[LogLine], bool]) -> LogLine:
        """The first such line. Nginx writes it when the client has its answer already."""
        async with asyncio.timeout(STOP_TIMEOUT_S):
            while not (found := [line for line in self.log() if condition(line)]):
                await asyncio.sleep(0.01)
        return found[0]

    async def line_of(self, agent: str) -> LogLine:
        """That of the request with this `User-Agent`."""
        return await self.line_where(lambda line: line.agent == agent)

    def everything_logged(self) -> str:
        return "".join((self.directory / name).read_text(encoding="utf-8") for name in ("access.log", "error.log"))

    def _parsed(self, line: str) -> LogLine:
        match = _LINE.fullmatch(line)
        assert match is not None, line
        return LogLine(
            client=match["client"],
            request=match["request"],
            status=int(match["status"]),
            took_s=float(match["took_s"]),
            asked=match["asked"],
            answers=match["answers"],
            agent=match["agent"],
        )


@contextlib.asynccontextmanager
async def running_nginx(
    directory: Path,
    nodes: Mapping[str, str],
    *,
    arguments: Sequence[str] = (),
    edit: Callable[[str], str] = lambda text: text,
) -> AsyncIterator[RunningNginx]:
    """Nginx before `nodes`, names and addresses, with what `hubbub nginx-conf` writes for them and for `arguments`.

    It inherits its listening sockets, as when a running Nginx hands over to a new one: so the ports are the system's
    choice, and nobody can take them in between.
    """
    directory.mkdir()
    tls = "--tls-cert" in arguments
    name = arguments[list(arguments).index("--server-name") + 1] if "--server-name" in arguments else None
    with _listener() as main_socket, _listener() as plain_socket:
        port, plain_port = (each.getsockname()[1] for each in (main_socket, plain_socket))
        listening = ["--listen", f"127.0.0.1:{port}", *(("--redirect-from", f"127.0.0.1:{plain_port}") if tls else ())]
        named = [part for name, address in nodes.items() for part in ("--node", f"{name}={address}")]
        result = await asyncio.to_thread(nginx_conf, *named, *listening, "--directory", str(directory), *arguments)
        assert result.exit_code == 0, result.stderr
        path = directory / "nginx.conf"
        path.write_text(edit(result.stdout), encoding="utf-8")
        descriptors = [main_socket.fileno(), *((plain_socket.fileno(),) if tls else ())]
        process = await asyncio.create_subprocess_exec(
            find_nginx(),
            *("-p", str(directory), "-c", str(path), "-g", "daemon off;"),
            pass_fds=descriptors,
            env=os.environ | {"NGINX": "".join(f"{descriptor};" for descriptor in descriptors)},
            stdin=asyncio.subprocess.DEVNULL,
        )
    nginx = RunningNginx(process, directory, port, plain_port, "https" if tls else "http", name)
    try:
        await _until_it_answers(nginx)
        yield nginx
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=511)
    listener.setblocking(False)
    return listener


async def _until_it_answers(nginx: RunningNginx) -> None:
    """Connections wait in the socket until the workers are there, so one request is enough."""
    async with asyncio.timeout(STOP_TIMEOUT_S):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            agent = {"User-Agent": "ready?"}
            async with session.get(f"{nginx.url}/healthz", server_hostname=nginx.name, headers=agent):
                pass
        await nginx.line_of("ready?")


# -- nodes -------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Trio:
    """Three nodes and Nginx before them."""

    nginx: RunningNginx
    nodes: dict[str, RunningService]

    @property
    def url(self) -> str:
        return self.nginx.url

    def token(self, user: str) -> str:
        return self.nodes["n1"].token(user=user)


SECRET: Final = "a secret that the three nodes of a test share"


async def start_node(directory: Path, name: str, **settings: object) -> RunningService:
    """A node with a store of its own: what is asked here is where requests go, not what is in rooms."""
    values: dict[str, object] = {"jwt_secret": SECRET, "trusted_proxies": "127.0.0.1/32", "node": name} | settings
    home = directory / name
    home.mkdir(exist_ok=True)
    return await start_service(home, prefix=(), **values)


@contextlib.asynccontextmanager
async def running_trio(
    directory: Path,
    *,
    arguments: Sequence[str] = (),
    edit: Callable[[str], str] = lambda text: text,
    **settings: object,
) -> AsyncIterator[Trio]:
    names = ("n1", "n2", "n3")
    async with contextlib.AsyncExitStack() as stack:
        nodes = {}
        for name, node in zip(
            names, await asyncio.gather(*(start_node(directory, name, **settings) for name in names)), strict=True
        ):
            stack.push_async_callback(node.kill)
            nodes[name] = node
        addresses = {name: f"127.0.0.1:{node.port}" for name, node in nodes.items()}
        nginx = await stack.enter_async_context(
            running_nginx(directory / "nginx", addresses, arguments=arguments, edit=edit)
        )
        yield Trio(nginx, nodes)
