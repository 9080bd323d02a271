"""`hubbub nginx-conf`: a configuration of Nginx that keeps each session on its node.

The text is `nginx.conf` beside this module, with places to be filled; the table of nodes is one of them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import click

from hubbub.cli.failures import fail, told_failures
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.cli.nginxtable import Upstream, is_host, node_table, parse_node, parse_nodes
from hubbub.settings import Settings, load

__all__ = ["Site", "configuration", "nginx_conf"]

_TEMPLATE: Final = Path(__file__).parent / "nginx.conf"
_READ_MARGIN_S: Final = 15
"""By how much a silent connection outlives the heartbeat: who is late by a pause of the machine is not cut."""

_CONNECTIONS_EACH: Final = 3
"""A client that polls has a GET and a POST under way at once, and while it upgrades a WebSocket beside them. The nodes
count sessions, and say no to one too many; this bound is to be reached by nobody whom they would take.
"""

_NOT_OF_NGINX: Final = frozenset({"HUBBUB_NODE", "HUBBUB_REDIS", "HUBBUB_STORE"})

_SERVER_NAME: Final = re.compile(r"(?=.{1,253}\Z)(\*\.)?[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9][a-z0-9-]{0,62})*")
_LISTEN: Final = re.compile(r"((\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):)?(\d{1,5})")
_PLAIN_PATH: Final = re.compile(r"[^\"\\$\x00-\x1f\x7f]+")
"""What may stand between quotes: nginx would take a dollar for a variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What surrounds the table.

    `names` are host names; none: any. `certificate` and `key` are paths, both or none. `hsts_s`: seconds, 0: no such
    header. `listen` and `redirect_from`: `PORT` or `ADDRESS:PORT`. `directory`: for pid, logs and temporary files;
    none: where Debian has them. `include`: the file in which the table is, if it is kept apart.
    """

    names: tuple[str, ...] = ()
    certificate: str | None = None
    key: str | None = None
    hsts_s: int = 0
    listen: tuple[str, ...] = ()
    redirect_from: tuple[str, ...] = ()
    directory: str | None = None
    include: str | None = None


def configuration(site: Site, settings: Settings, nodes: Sequence[Upstream]) -> str:
    """The whole `nginx.conf`. Raises `ValueError` as `node_table`, unless the table is in a file of its own."""
    read_timeout_s = math.ceil(settings.ping_interval_s + settings.ping_timeout_s) + _READ_MARGIN_S
    table = f'include "{site.include}";' if site.include else node_table(nodes)
    places = {
        "head": _HEAD,
        "user": "user www-data;" if site.directory is None else "",
        "pid": _place(site, "nginx.pid", "/run/nginx.pid"),
        "error_log": _place(site, "error.log", "/var/log/nginx/error.log"),
        "access_log": _place(site, "access.log", "/var/log/nginx/access.log"),
        "temporary": _indented(_temporary(site), 4),
        "nodes": _indented(table, 4),
        "origins": _indented(_origins(settings), 8),
        "body_bytes": str(settings.max_packet_bytes),
        "interval": f"{settings.ping_interval_s:g}",
        "timeout": f"{settings.ping_timeout_s:g}",
        "read_timeout": str(read_timeout_s),
        "connections": str(settings.connections_per_address * _CONNECTIONS_EACH),
        "speech": _indented(_speech(site), 4),
        "others": _indented(_other_servers(site), 4),
        "listen": _indented(_listen(site), 8),
        "server_name": " ".join(site.names) or '""',
        "tls": _indented(_tls(site), 8),
        "hsts": _indented(_hsts(site), 12),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    if not settings.connections_per_address:
        text = re.sub(r" *limit_conn hubbub_connections .*\n", "", text)
    return "".join(_filled(line, places) for line in text.splitlines(keepends=True))


def _filled(line: str, places: Mapping[str, str]) -> str:
    """A line of the template; nothing, if it is a place alone and there is nothing for it."""
    alone = re.fullmatch(r" *@([a-z_]+)@\n", line)
    if alone is not None:
        return f"{places[alone[1]]}\n" if places[alone[1]] else ""
    return re.sub(r"@([a-z_]+)@", lambda match: places[match[1]], line)


_HEAD: Final = """\
# Nginx before several nodes of Hubbub: each session stays on its node. Written by `hubbub nginx-conf`, for Nginx 1.22
# and later; docs/deploy/nginx.md says what each part is for."""


# -- what surrounds it -------------------------------------------------------------------------------------------------


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line if line else "" for line in text.splitlines())


def _place(site: Site, name: str, usual: str) -> str:
    return usual if site.directory is None else f'"{site.directory}/{name}"'


def _temporary(site: Site) -> str:
    if site.directory is None:
        return ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(("", *(f'{kind}_temp_path "{site.directory}/{kind}";' for kind in kinds)))


def _origins(settings: Settings) -> str:
    """The service's own rule, save that a page of the same host needs no header."""
    if "*" in settings.origins:
        return "default $http_origin;"
    return "\n".join(('default "";', *(f'"{origin}" $http_origin;' for origin in settings.origins)))


def _listens(site: Site) -> tuple[str, ...]:
    if site.listen:
        return site.listen
    return ("443", "[::]:443") if site.certificate else ("80", "[::]:80")


def _redirects(site: Site) -> tuple[str, ...]:
    return site.redirect_from or ("80", "[::]:80")


def _listen(site: Site) -> str:
    options = " ssl http2" if site.certificate else ""
    return "\n".join(f"listen {address}{options};" for address in _listens(site))


def _speech(site: Site) -> str:
    """How TLS is spoken. It stands outside the servers: a handshake begins before Nginx knows which of them is meant,
    and what that one says is not heard.
    """
    if not site.certificate:
        return ""
    lines = [
        "",
        "# What every browser of the last ten years speaks, and nothing without forward secrecy.",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        ":ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;",
        "ssl_prefer_server_ciphers off;  # Phones choose what is cheap for them.",
        "# Coming back is cheap; tickets are off, because one key for all of them would undo forward secrecy.",
        "ssl_session_cache shared:hubbub_tls:10m;",
        "ssl_session_timeout 1d;",
        "ssl_session_tickets off;",
    ]
    return "\n".join(lines)


def _tls(site: Site) -> str:
    if not site.certificate:
        return ""
    lines = [f'ssl_certificate     "{site.certificate}";', f'ssl_certificate_key "{site.key}";', _hsts(site)]
    return "\n".join(line for line in lines if line)


def _hsts(site: Site) -> str:
    return f'add_header Strict-Transport-Security "max-age={site.hsts_s}" always;' if site.hsts_s else ""


def _other_servers(site: Site) -> str:
    """Who asks for another host, and who comes without TLS."""
    servers = []
    if site.names:
        refuse = ["ssl_reject_handshake on;"] if site.certificate else ["return 444;"]
        options = " ssl http2 default_server;" if site.certificate else " default_server;"
        servers.append(
            ("# Whoever asks for another host is not answered.", _listens(site), options, '""', refuse),
        )
    if site.certificate:
        port = _listens(site)[0].rpartition(":")[2]
        there = "https://$host" + (f":{port}" if port != "443" else "") + "$request_uri"
        if site.names:
            servers.append(("# Without TLS neither.", _redirects(site), " default_server;", '""', ["return 444;"]))
        names = " ".join(site.names) or '""'
        servers.append(("# Everything over TLS.", _redirects(site), ";", names, [f"return 301 {there};"]))
    return "\n".join(
        _server(comment, listens, options, names, rest) for comment, listens, options, names, rest in servers
    )


def _server(comment: str, listens: Sequence[str], options: str, names: str, rest: Sequence[str]) -> str:
    lines = [*(f"listen {address}{options}" for address in listens), f"server_name {names};", *rest]
    return "\n".join((f"\n{comment}", "server {", *(f"    {line}" for line in lines), "}"))


# -- the command -------------------------------------------------------------------------------------------------------


@click.command("nginx-conf")
@click.option("--node", "named", multiple=True, metavar="NAME=HOST:PORT", help="A node. May be repeated.")
@click.option(
    "--nodes",
    "listed",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="A file of nodes, one in a line: n1 10.0.0.1:8000. A hyphen: standard input.",
)
@click.option("--only-nodes", is_flag=True, help="Print the table alone, for a configuration that includes it.")
@click.option("--include", metavar="FILE", help="Include the table from this file in place of writing it out.")
@click.option(
    "--server-name", "names", multiple=True, metavar="HOST", help="Answer for this host only. May be repeated."
)
@click.option("--tls-cert", metavar="FILE", help="The certificate, with those between it and the root.")
@click.option("--tls-key", metavar="FILE", help="Its key.")
@click.option(
    "--hsts",
    type=click.IntRange(0, 10 * 366 * 86400),
    default=0,
    metavar="SECONDS",
    help="Have browsers insist on TLS for so long. 0, the default: do not; it cannot be taken back.",
)
@click.option("--listen", multiple=True, metavar="[ADDRESS:]PORT", help="By default 443 with a certificate, else 80.")
@click.option(
    "--redirect-from", multiple=True, metavar="[ADDRESS:]PORT", help="Where to send to TLS from; by default 80."
)
@click.option("--directory", metavar="DIR", help="Keep pid, logs and temporary files here, and need no privileges.")
@config_flag
@setting_flags(("origins", "connections_per_address", "max_packet_bytes", "ping_interval_s", "ping_timeout_s"))
def nginx_conf(
    named: tuple[str, ...],
    listed: TextIO | None,
    only_nodes: bool,
    include: str | None,
    names: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    hsts: int,
    listen: tuple[str, ...],
    redirect_from: tuple[str, ...],
    directory: str | None,
    config: Path | None,
    **overrides: str | None,
) -> None:
    """Print a configuration of Nginx that keeps each session on its node.

    Nodes are named as their HUBBUB_NODE says. Sizes, times and origins are those of the service's settings; what they
    say of HUBBUB_NODE, HUBBUB_REDIS and HUBBUB_STORE counts for nothing. The same
    arguments give the same text, in whichever order the nodes are named.
    """
    with told_failures():
        settings = _settings(config, overrides)
        site = Site(
            names=tuple(name.lower() for name in names),
            certificate=tls_cert,
            key=tls_key,
            hsts_s=hsts,
            listen=listen,
            redirect_from=redirect_from,
            directory=directory,
            include=include,
        )
        try:
            _check(site)
            nodes = [*(parse_nodes(listed.read()) if listed else ()), *map(parse_node, named)]
            text = node_table(nodes) if only_nodes else configuration(site, settings, nodes)
        except ValueError as error:
            fail(str(error), status=2)
    click.echo(text, nl=False)


def _settings(config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The bounds and origins of all nodes. What is kept for all of them together, in a file of the environment or in
    `config`, names Redis and no node: here that is no mistake.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OF_NGINX}
    return load(environ, config=config, overrides={**overrides, "node": "any"})


def _check(site: Site) -> None:
    if (site.certificate is None) != (site.key is None):
        raise ValueError("A certificate and its key go together: --tls-cert and --tls-key.")
    if site.certificate is None and (site.hsts_s or site.redirect_from):
        raise ValueError("--hsts and --redirect-from are about TLS: give a certificate and its key too.")
    for name in site.names:
        if not _SERVER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a host, such as chat.example.org.")
    for address in (*site.listen, *site.redirect_from):
        match = _LISTEN.fullmatch(address)
        if match is None or not 1 <= int(match[3]) <= 65535 or (match[2] is not None and not is_host(match[2])):
            raise ValueError(f"{address!r} is nothing to listen on: give 443, 127.0.0.1:443 or [::1]:443.")
    if site.directory is not None and not site.directory.startswith("/"):
        raise ValueError(f"--directory {site.directory} has to begin with a slash.")
    for path in (site.certificate, site.key, site.directory, site.include):
        if path is not None and not _PLAIN_PATH.fullmatch(path):
            raise ValueError(f"{path!r} cannot stand in a configuration of Nginx.")
