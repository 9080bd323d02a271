"""`hubbub token`: what it prints is accepted by the service with the same settings."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from hubbub.cli.token import parse_duration
from hubbub.domain.identity import Identity
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import load
from tests.support.keys import SECRET, key_of, pem


class Machine:
    """An environment to run the command in, and a verifier with the same settings."""

    def __init__(self, directory: Path) -> None:
        self.environ = {"HUBBUB_STORE": f"sqlite:///{directory}/hubbub.db"}

    def token(self, *arguments: str) -> Result:
        others = {name: None for name in os.environ if name.startswith("HUBBUB_")}
        return CliRunner(env={**others, **self.environ}).invoke(main, ["token", *arguments])

    def identity(self, *arguments: str) -> Identity:
        result = self.token(*arguments)
        assert result.exit_code == 0, result.stderr
        identity = TokenVerifier(load(self.environ, config=None, overrides={})).verify_nowait(result.stdout.strip())
        assert identity is not None
        return identity

    def refusal(self, *arguments: str) -> str:
        result = self.token(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class TestTokens:
    def test_everything_that_was_asked_for_is_in_it(self, machine: Machine) -> None:
        identity = machine.identity(
            *("--user", "ada", "--name", "Ada", "--role", "admin", "--role", "bot", "--room", "dev-*", "--ttl", "90s")
        )
        assert (identity.user, identity.person.name, identity.rooms) == ("ada", "Ada", ("dev-*",))
        assert identity.roles == {"admin", "bot"}
        assert identity.expires_at - identity.issued_at == 90_000

    def test_it_is_valid_for_an_hour_and_everywhere_unless_told_otherwise(self, machine: Machine) -> None:
        identity = machine.identity("--user", "ada")
        assert (identity.person.name, identity.rooms, identity.roles) == ("ada", None, frozenset())
        assert identity.expires_at - identity.issued_at == 3_600_000

    def test_it_is_signed_with_the_configured_secret(self, machine: Machine, tmp_path: Path) -> None:
        machine.environ |= {"HUBBUB_JWT_SECRET": SECRET, "HUBBUB_JWT_ISSUER": "id", "HUBBUB_JWT_AUDIENCE": "chat"}
        assert machine.identity("--user", "ada").user == "ada"
        assert list(tmp_path.iterdir()) == []

    def test_the_secret_beside_the_database_is_made_if_there_is_none(self, machine: Machine, tmp_path: Path) -> None:
        machine.identity("--user", "ada")
        assert stat.S_IMODE((tmp_path / "hubbub.db-secret").stat().st_mode) == 0o600

    def test_the_store_may_be_given_as_a_flag(self, machine: Machine, tmp_path: Path) -> None:
        assert machine.token("--user", "ada", "--store", f"sqlite:///{tmp_path}/other.db").exit_code == 0
        assert [path.name for path in tmp_path.iterdir()] == ["other.db-secret"]

    def test_a_guest_gets_an_id(self, machine: Machine) -> None:
        identity = machine.identity("--guest", "--name", "Zoe")
        assert identity.person.guest is True
        assert identity.user.startswith("guest-")

    def test_a_guest_may_have_an_id_already(self, machine: Machine) -> None:
        assert machine.identity("--guest", "--user", "guest-7").user == "guest-7"

    def test_guests_beside_a_key_are_signed_with_the_local_secret(self, machine: Machine) -> None:
        machine.environ |= {"HUBBUB_JWT_SECRET": SECRET, "HUBBUB_GUESTS": "on"}
        assert machine.identity("--guest").person.guest is True


class TestRefusals:
    def test_somebody_has_to_be_named(self, machine: Machine) -> None:
        assert machine.refusal() == "Say who the token is for: --user ID.\n"

    def test_with_a_public_key_only_the_issuer_signs(self, machine: Machine) -> None:
        machine.environ |= {"HUBBUB_JWT_PUBLIC_KEY": pem(key_of("ES256"))}
        assert "only their issuer signs tokens" in machine.refusal("--user", "ada")

    def test_where_guests_are_off_none_is_made(self, machine: Machine) -> None:
        machine.environ |= {"HUBBUB_JWT_SECRET": SECRET}
        assert "HUBBUB_GUESTS" in machine.refusal("--guest")

    def test_a_guest_has_no_roles(self, machine: Machine) -> None:
        assert machine.refusal("--guest", "--role", "admin") == "A guest has no roles; leave out --role, or --guest.\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--user", "guest-7"],
            ["--guest", "--user", "ada"],
            ["--user", ""],
            ["--user", "x" * 129],
            ["--user", "ada", "--name", "a\nb"],
            ["--user", "ada", "--room", ""],
            ["--user", "ada", *["--room", "x" * 128] * 60],
        ],
    )
    def test_what_the_service_would_refuse_is_not_printed(self, machine: Machine, arguments: list[str]) -> None:
        assert machine.refusal(*arguments).startswith("The service would refuse this token: ")

    @pytest.mark.parametrize("ttl", ["1", "h", "0s", "-1h", "1.5h", "1w", "99999d", ""])
    def test_a_time_has_a_unit_and_a_bound(self, machine: Machine, ttl: str) -> None:
        assert "Give a time such as 90s" in machine.refusal("--user", "ada", "--ttl", ttl)

    def test_a_secret_that_cannot_be_read_ends_with_status_1(self, machine: Machine, tmp_path: Path) -> None:
        (tmp_path / "hubbub.db-secret").write_text("nonsense")
        (tmp_path / "hubbub.db-secret").chmod(0o600)
        result = machine.token("--user", "ada")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "is not a secret of local tokens" in result.stderr


class TestDurations:
    @pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("15m", 900), ("1h", 3600), ("30d", 2_592_000)])
    def test_a_duration_is_a_number_and_a_unit(self, text: str, seconds: int) -> None:
        assert parse_duration(text) == seconds
