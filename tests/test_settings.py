"""Settings from three sources, validated before anything opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from hubbub.settings import Settings, SettingsError, load
from tests.support.keys import SECRET, key_of, pem


def problems_of(
    environ: Mapping[str, str], *, config: Path | None = None, flags: Mapping[str, object] | None = None
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, config=config, overrides=flags or {})
    return caught.value.problems


def loaded(**environ: str) -> Settings:
    return load({f"HUBBUB_{name}": value for name, value in environ.items()}, config=None, overrides={})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "hubbub.toml"


class TestSources:
    """Environment, file, flags; the later wins."""

    def test_without_any_source_the_defaults_hold(self) -> None:
        settings = load({}, config=None, overrides={})
        assert (settings.host, settings.port, settings.guests_on, settings.limits) == ("127.0.0.1", 8000, True, True)

    def test_the_environment_gives_text_and_settings_are_typed(self) -> None:
        settings = loaded(
            PORT="0", LIMITS="off", JWT_LEEWAY_S="1.5", ORIGINS="https://a.example, https://b.example:8443"
        )
        assert (settings.port, settings.limits, settings.jwt_leeway_s) == (0, False, 1.5)
        assert settings.origins == ("https://a.example", "https://b.example:8443")

    def test_the_file_wins_over_the_environment_and_flags_win_over_both(self, config: Path) -> None:
        config.write_text('port = 2\nhost = "::1"\nlimits = false\norigins = ["https://a.example"]\n')
        environ = {"HUBBUB_PORT": "1", "HUBBUB_HOST": "localhost", "HUBBUB_MAX_BODY": "5"}
        settings = load(environ, config=config, overrides={"port": "3"})
        assert (settings.port, settings.host, settings.max_body) == (3, "::1", 5)
        assert settings.limits is False
        assert settings.origins == ("https://a.example",)

    def test_a_flag_that_was_not_given_is_none_and_changes_nothing(self) -> None:
        assert load({"HUBBUB_PORT": "1"}, config=None, overrides={"port": None}).port == 1

    def test_other_variables_and_those_of_tests_and_benchmarks_are_ignored(self) -> None:
        load({"PATH": "/bin", "HUBBUB_TEST_MONGODB": "x", "HUBBUB_BENCH_CLIENTS": "9"}, config=None, overrides={})

    def test_the_default_store_is_in_the_state_directory_of_the_environment_given(self) -> None:
        settings = load({"XDG_STATE_HOME": "/state"}, config=None, overrides={})
        assert settings.store == "sqlite:////state/hubbub/hubbub.db"

    def test_each_process_gets_a_node_name_of_its_own(self) -> None:
        assert loaded().node != loaded().node

    def test_only_a_name_that_was_given_is_one_to_be_called_by(self) -> None:
        assert loaded().name_of_node is None
        assert loaded(NODE="n-abc123").name_of_node == "n-abc123"

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            loaded().port = 1  # type: ignore[misc]


class TestMistakes:
    """Each is one sentence, and all are told at once."""

    def test_an_unknown_name_is_answered_with_the_nearest_known_one(self) -> None:
        assert problems_of({"HUBBUB_PROT": "1"}) == ("HUBBUB_PROT is not a setting; did you mean HUBBUB_PORT?",)

    def test_an_unknown_key_of_the_file_is_answered_with_the_nearest_known_one(self, config: Path) -> None:
        config.write_text("orgins = []\n[port]\n")
        problems = problems_of({}, config=config)
        assert problems[0] == f"orgins in {config} is not a setting; did you mean origins?"
        assert problems[1] == f"port in {config} must be a whole number from 0 to 65535."

    @pytest.mark.parametrize("name", ["HUBBUB_", "HUBBUB_Port", "HUBBUB_port", "HUBBUB_XYZZY"])
    def test_every_other_name_with_the_prefix_is_refused(self, name: str) -> None:
        assert "is not a setting; did you mean HUBBUB_" in problems_of({name: "1"})[0]

    def test_a_mistake_is_named_as_it_was_given(self, config: Path) -> None:
        config.write_text('host = ""\n')
        problems = problems_of({"HUBBUB_NODE": "Ä"}, config=config, flags={"max_body": "many"})
        assert {problem.split()[0] for problem in problems} == {"host", "HUBBUB_NODE", "--max-body"}

    def test_an_empty_secret_is_a_mistake_and_not_an_open_door(self) -> None:
        assert problems_of({"HUBBUB_JWT_SECRET": ""}) == (
            "HUBBUB_JWT_SECRET is empty; leave it out, or give it a value.",
        )

    def test_a_secret_is_never_repeated(self) -> None:
        assert all("hunter2" not in problem for problem in problems_of({"HUBBUB_JWT_SECRET": "hunter2"}))
        assert all("hunter2" not in problem for problem in problems_of({"HUBBUB_REDIS": "redis://:hunter2@host"}))
        assert all(
            "hunter2" not in problem for problem in problems_of({"HUBBUB_STORE": "mongodb://u:hunter2@host/a/b"})
        )

    def test_a_cluster_needs_an_address_and_a_name(self) -> None:
        (scheme,) = problems_of({"HUBBUB_REDIS": "cache:6379", "HUBBUB_NODE": "n1"})
        assert "redis://" in scheme
        (name,) = problems_of({"HUBBUB_REDIS": "redis://host"})
        assert name.startswith("HUBBUB_REDIS needs HUBBUB_NODE")
        for url in ("redis://host", "rediss://u:p@h:1/2", "unix:///x", "redis+sentinel://a:1,b:2/0/m"):
            assert loaded(REDIS=url, NODE="n1").redis == url

    def test_the_password_of_redis_is_masked(self) -> None:
        settings = load({"HUBBUB_REDIS": "redis://ada:hunter2@host/0", "HUBBUB_NODE": "n1"}, config=None, overrides={})
        assert settings.masked()["redis"] == "redis://ada:********@host/0"

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "none.toml"
        assert problems_of({}, config=path) == (f"The file {path} cannot be read: No such file or directory.",)

    def test_a_file_that_is_not_toml_is_named(self, config: Path) -> None:
        config.write_bytes(b"port = = 1")
        assert problems_of({}, config=config)[0].startswith(f"The file {config} is not valid TOML:")
        config.write_bytes(b"\xff")
        assert problems_of({}, config=config)[0].startswith(f"The file {config} is not valid TOML:")

    def test_a_wrong_value_that_a_later_source_replaces_is_no_mistake(self) -> None:
        assert load({"HUBBUB_PORT": "x"}, config=None, overrides={"port": 1}).port == 1


class TestTogether:
    """What is wrong only together with something else."""

    def test_two_keys_exclude_each_other(self) -> None:
        environ = {"HUBBUB_JWT_SECRET": SECRET, "HUBBUB_JWKS_URL": "https://id.example/keys"}
        assert problems_of(environ) == ("HUBBUB_JWT_SECRET and HUBBUB_JWKS_URL exclude each other; give one of them.",)

    @pytest.mark.parametrize("name", ["HUBBUB_JWT_AUDIENCE", "HUBBUB_JWT_ISSUER"])
    def test_an_audience_or_issuer_without_a_key_is_a_forgotten_key(self, name: str) -> None:
        assert problems_of({name: "chat"})[0].startswith(f"{name} has no effect without a key")

    def test_a_frame_has_to_hold_the_longest_body_as_it_may_be_escaped(self) -> None:
        enough = 12 * 1000 + 4096
        assert loaded(MAX_BODY="1000", MAX_PACKET_BYTES=str(enough)).max_packet_bytes == enough
        problems = problems_of({"HUBBUB_MAX_BODY": "1000", "HUBBUB_MAX_PACKET_BYTES": str(enough - 1)})
        assert f"at least {enough}" in problems[0]

    def test_the_default_capacity_is_not_above_the_largest(self) -> None:
        environ = {"HUBBUB_ROOM_CAPACITY": "50", "HUBBUB_ROOM_CAPACITY_MAX": "40"}
        assert problems_of(environ) == ("HUBBUB_ROOM_CAPACITY is 50, larger than HUBBUB_ROOM_CAPACITY_MAX (40).",)

    def test_a_key_that_is_wrong_does_not_turn_guests_on_unnoticed(self) -> None:
        assert len(problems_of({"HUBBUB_JWT_PUBLIC_KEY": "/no/such/file", "HUBBUB_JWT_ISSUER": "me"})) == 1

    def test_a_public_key_may_be_text_or_a_path(self, tmp_path: Path) -> None:
        text = pem(key_of("ES256"))
        path = tmp_path / "key.pem"
        path.write_text(text)
        assert loaded(JWT_PUBLIC_KEY=str(path)).jwt_public_key == text
        assert loaded(JWT_PUBLIC_KEY=text.replace("\n", "\\n")).jwt_public_key == text
