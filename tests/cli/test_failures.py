"""What an operator did wrong is told in one sentence."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hubbub.cli.failures import told_failures, warn
from hubbub.errors import StoreError
from hubbub.settings import Settings, SettingsError


def listen(settings: Settings) -> None:
    """Bind as a server does."""

    async def bind() -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, settings.host, settings.port)
        server.close()

    asyncio.run(bind())


def told(error: Exception, capsys: pytest.CaptureFixture[str], *, settings: Settings | None = None) -> tuple[str, int]:
    with pytest.raises(SystemExit) as caught, told_failures(settings):
        raise error
    assert isinstance(caught.value.code, int)
    return capsys.readouterr().err, caught.value.code


class TestSentences:
    def test_settings_end_with_status_2(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert told(SettingsError(("One.", "Two.")), capsys) == ("One.\nTwo.\n", 2)

    def test_the_store_ends_with_status_1(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert told(StoreError("The file is locked."), capsys) == ("The file is locked.\n", 1)

    def test_ctrl_c_ends_with_status_130(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught, told_failures():
            raise KeyboardInterrupt
        assert (capsys.readouterr().err, caught.value.code) == ("Interrupted.\n", 130)

    def test_a_long_sentence_is_not_broken(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = "word " * 100 + "end."
        assert told(StoreError(text), capsys)[0] == f"{text}\n"

    def test_a_warning_does_not_end_anything(self, capsys: pytest.CaptureFixture[str]) -> None:
        warn("Careful.")
        assert capsys.readouterr().err == "Careful.\n"


class TestAddresses:
    def test_a_port_that_is_taken_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = Settings(port=taken.getsockname()[1])
            with pytest.raises(SystemExit) as caught, told_failures(settings):
                listen(settings)
        assert caught.value.code == 1
        assert capsys.readouterr().err == (
            f"Port {settings.port} on 127.0.0.1 is taken. Choose another with --port or HUBBUB_PORT.\n"
        )

    def test_an_address_of_elsewhere_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        settings = Settings(host="192.0.2.1", port=0)
        with pytest.raises(SystemExit) as caught, told_failures(settings):
            listen(settings)
        assert caught.value.code == 1
        assert capsys.readouterr().err == (
            "192.0.2.1 is not an address of this machine. Choose another with --host or HUBBUB_HOST.\n"
        )

    def test_a_name_that_nobody_knows_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        sentence, status = told(error, capsys, settings=Settings(host="nowhere"))
        assert (sentence.partition(".")[0], status) == ("nowhere is not an address of this machine", 1)

    def test_a_port_that_needs_privileges_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        sentence, status = told(PermissionError(13, "Permission denied"), capsys, settings=Settings(port=80))
        assert (sentence.partition(".")[0], status) == ("Port 80 needs privileges", 1)

    @pytest.mark.parametrize(
        "error", [OSError(5, "Input/output error"), PermissionError(13, "no"), ValueError("fault")]
    )
    def test_other_faults_are_not_hidden(self, error: Exception) -> None:
        with pytest.raises(type(error)), told_failures(Settings()):
            raise error

    def test_before_there_are_settings_no_address_is_to_blame(self) -> None:
        with pytest.raises(OSError, match="taken"), told_failures():
            raise OSError(98, "taken")
