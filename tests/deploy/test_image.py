"""What the image is made by and what it runs, without containers: the wheel, a fresh environment, the health check."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.support.deployed import DEPLOY, dockerfile, env_of_image, of_kind, one_document
from tests.support.service import running_service
from tests.support.tree import ROOT

PAGE: Final = "service/hubbub/http/static"


def said(word: str) -> list[str]:
    return [rest for each, rest in dockerfile() if each == word]


def copied() -> list[str]:
    """What is taken from the repository."""
    return [source for line in said("COPY") if "--from" not in line for source in line.split()[:-1]]


def command_of(text: str) -> list[str]:
    """The exec form: a list of words, and no shell."""
    words: list[str] = json.loads(text)
    return words


def health_check() -> list[str]:
    [line] = said("HEALTHCHECK")
    return command_of(line.partition("CMD ")[2])


def readiness_check(*, port: int) -> list[str]:
    """That of the nodes of a cluster."""
    services = one_document(DEPLOY / "compose.cluster.yaml")["services"]
    kind, *words = services["n1"]["healthcheck"]["test"]
    assert kind == "CMD"
    return [word.replace("8000", str(port)) for word in words]


def is_sent(path: str) -> bool:
    """Whether `.dockerignore` lets a file through: the last line that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            parts = path.split("/")
            heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            if any(fnmatchcase(each, pattern) for each in (parts if line.startswith("**/") else heads)):
                sent = line.startswith("!")
    return sent


class TestWhatItIsMadeFrom:
    @pytest.mark.parametrize("source", copied())
    def test_it_is_there_and_sent(self, source: str) -> None:
        assert (ROOT / source).exists()
        assert is_sent(source)

    @pytest.mark.parametrize(
        "path",
        [
            "var/hubbub.db",
            ".venv/bin/python",
            ".git/config",
            "clients/web/node_modules/vite/package.json",
            "service/hubbub/__pycache__/app.pyc",
            f"{PAGE}/index.html",
            "tests/conftest.py",
        ],
    )
    def test_nothing_else_is(self, path: str) -> None:
        assert not is_sent(path)

    def test_the_page_is_where_it_is_built(self) -> None:
        config = (ROOT / "clients" / "web" / "vite.config.ts").read_text(encoding="utf-8")
        assert f"outDir: '../../{PAGE}'" in config
        assert f"--from=page /src/{PAGE} /src/{PAGE}" in said("COPY")

    def test_node_is_new_enough_for_it(self) -> None:
        engines = json.loads((ROOT / "clients" / "web" / "package.json").read_text(encoding="utf-8"))["engines"]["node"]
        [version] = [match[1] for line in said("FROM") if (match := re.match(r"node:(\d+)-slim", line))]
        assert int(version) > int(re.sub(r"^>=(\d+)\..*", r"\1", engines))


class TestHowItRuns:
    def test_as_nobody_who_may_do_anything(self) -> None:
        [user] = said("USER")
        uid, _, gid = user.partition(":")
        assert uid == gid
        assert int(uid) >= 10000
        assert f"useradd --uid {uid}" in " ".join(said("RUN"))
        context = of_kind("StatefulSet", "hubbub")["spec"]["template"]["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (int(uid), int(gid), True)

    def test_the_service_itself_hears_the_signal(self) -> None:
        assert said("STOPSIGNAL") == ["SIGTERM"]
        [command] = said("CMD")
        assert command_of(command) == ["hubbub", "serve"]
        assert said("ENTRYPOINT") == []


def build(tmp_path: Path) -> Path:
    """The steps of the second stage; returns its environment. Its other packages are those of the tests."""
    source = tmp_path / "src"
    source.mkdir()
    for name in ("README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, source)
    assert (ROOT / PAGE / "index.html").exists(), "The page is not built; `make test` builds it."
    shutil.copytree(ROOT / "service", source / "service", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    home = tmp_path / "opt"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    [line] = [line for line in said("RUN") if "pip wheel" in line]
    places = {"/src": str(source), "/wheels": str(tmp_path / "wheels")}
    for command in line.split(" && "):
        words = [places.get(word, word) for word in command.split()]
        words[0] = str(home / "bin" / "pip")
        if words[-1] == "/wheels/*.whl":
            words[-1:] = map(str, (tmp_path / "wheels").glob("*.whl"))
        subprocess.run(words, check=True, timeout=120)
    [library] = (home / "lib").glob("python3*/site-packages")
    (library / "those_of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    return home


class TestItsCommands:
    async def test_the_wheel_serves_the_page_and_the_health_check_tells_whether_it_lives(self, tmp_path: Path) -> None:
        home = await asyncio.to_thread(build, tmp_path)
        environ = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
        where = await run("python", "-c", "import hubbub; print(hubbub.__file__)", environ=environ)
        assert where == (0, str(next((home / "lib").glob("python3*/site-packages/hubbub/__init__.py"))))
        settings: dict[str, object] = {
            key.removeprefix("HUBBUB_").lower(): value for key, value in env_of_image().items()
        }
        del settings["path"]
        settings["store"] = f"sqlite:///{tmp_path / 'hubbub.db'}"
        program, *arguments = command_of(said("CMD")[0])
        # In place of what the tests start otherwise, whose words the shell passes over.
        prefix = ["sh", "-c", f"exec {home / 'bin' / program} {' '.join(arguments)}"]
        async with running_service(tmp_path, prefix=prefix, **settings) as node:
            assert str(home) in Path(f"/proc/{node.process.pid}/cmdline").read_text()
            environ["HUBBUB_PORT"] = str(node.port)
            assert await run(*health_check(), environ=environ) == (0, "")
            assert await run(*readiness_check(port=node.port), environ=environ) == (0, "")
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{node.port}/") as answer:
                assert '<script type="module"' in await answer.text()
            node.process.send_signal(signal.SIGSTOP)
            try:
                assert (await run(*health_check(), environ=environ))[0] != 0
            finally:
                node.process.send_signal(signal.SIGCONT)
            assert "/healthz" in health_check()[-1]
            assert "/readyz" in readiness_check(port=node.port)[-1]
            assert await node.stop() == 0
            assert (await run(*health_check(), environ=environ))[0] != 0


async def run(*command: str, environ: dict[str, Any]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *("env", *(f"{key}={value}" for key, value in environ.items()), *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, output.decode().strip()
