"""What the settings say together: derived values, masking, warnings."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from hubbub.settings import Settings, declaration_of
from hubbub.settings_declared import default_store
from tests.support.keys import SECRET


class TestDeclarations:
    @pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
    def test_a_setting_says_what_it_is_and_why(self, field: object) -> None:
        declared = declaration_of(field.metadata)  # type: ignore[attr-defined]
        assert declared.what.endswith(".")
        assert declared.why.endswith(".")

    @pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
    def test_a_default_is_a_value_that_could_be_given(self, field: object) -> None:
        declared = declaration_of(field.metadata)  # type: ignore[attr-defined]
        default = declared.default() if callable(declared.default) else declared.default
        if default is None:
            assert declared.zero
        else:
            assert declared.field.deserialize(default) == default

    @pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
    def test_a_unit_is_in_the_name(self, field: object) -> None:
        name: str = field.name  # type: ignore[attr-defined]
        declared = declaration_of(field.metadata)  # type: ignore[attr-defined]
        assert name.endswith("_s") == (declared.unit == "seconds")
        assert name.endswith("_bytes") == (declared.unit == "bytes")


class TestGuests:
    @pytest.mark.parametrize(
        ("guests", "secret", "on"),
        [
            ("auto", None, True),
            ("auto", SECRET, False),
            ("on", None, True),
            ("on", SECRET, True),
            ("off", None, False),
            ("off", SECRET, False),
        ],
    )
    def test_guests_are_on_by_default_only_while_no_key_is_configured(
        self, guests: str, secret: str | None, on: bool
    ) -> None:
        assert Settings(guests=guests, jwt_secret=secret).guests_on is on  # type: ignore[arg-type]


class TestPaths:
    def test_three_slashes_are_relative_and_four_absolute(self) -> None:
        assert Settings(store="sqlite:///var/hubbub.db").store_path == Path("var/hubbub.db")
        assert Settings(store="sqlite:////srv/hubbub.db").store_path == Path("/srv/hubbub.db")

    def test_the_password_of_a_store_is_masked_and_the_rest_shown(self) -> None:
        store = Settings(store="mongodb://u:hunter2@a:1,b:2/chat?tlsCertificateKeyFilePassword=hunter2&tls=true")
        assert store.on_mongodb
        shown = str(store.masked()["store"])
        assert "hunter2" not in shown
        assert shown.startswith("mongodb://u:")
        assert shown.endswith("&tls=true")
        assert Settings(store="mongodb://host/chat").masked()["store"] == "mongodb://host/chat"
        assert Settings(store="sqlite:///a:b@c").masked()["store"] == "sqlite:///a:b@c"

    def test_a_local_secret_has_a_place_whatever_the_store_is(self) -> None:
        assert Settings(store="mongodb://host/chat").local_secret_path.name == "hubbub.db-secret"

    def test_the_local_secret_is_beside_the_database(self) -> None:
        assert Settings(store="sqlite:////srv/hubbub.db").local_secret_path == Path("/srv/hubbub.db-secret")

    def test_a_state_directory_that_is_not_absolute_is_ignored(self) -> None:
        environ = {"XDG_STATE_HOME": "state", "HOME": "/home/ada"}
        assert default_store(environ) == "sqlite:////home/ada/.local/state/hubbub/hubbub.db"

    def test_a_user_without_a_home_has_it_where_the_process_was_started(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)  # Nobody, as a container's user may be.
        monkeypatch.chdir(tmp_path)
        assert default_store({}) == f"sqlite:///{tmp_path}/hubbub/hubbub.db"


class TestSecrets:
    def test_the_secret_is_masked(self) -> None:
        settings = Settings(jwt_secret=SECRET)
        assert settings.masked()["jwt_secret"] == "********"
        assert SECRET not in str(settings.masked())

    def test_the_secret_is_not_in_the_representation(self) -> None:
        assert SECRET not in repr(Settings(jwt_secret=SECRET))

    def test_no_secret_is_shown_as_none(self) -> None:
        assert Settings().masked()["jwt_secret"] is None


class TestWarnings:
    def test_the_defaults_need_no_warning(self) -> None:
        assert Settings().warnings() == ()

    def test_what_is_dangerous_is_named(self) -> None:
        warnings = Settings(origins=("*",), limits=False, query_tokens=True).warnings()
        names = ("HUBBUB_ORIGINS", "HUBBUB_LIMITS", "HUBBUB_QUERY_TOKENS")
        assert [name for name in names if any(name in warning for warning in warnings)] == list(names)

    def test_what_several_nodes_must_have_in_common_is_named(self) -> None:
        lone = Settings(redis="redis://cache", node="n1").warnings()
        assert len(lone) == 2
        assert "HUBBUB_STORE" in lone[0]
        assert "HUBBUB_JWT_SECRET" in lone[1]
        store, secret = "mongodb://db/hubbub", "s" * 32
        assert Settings(redis="redis://cache", node="n1", store=store, jwt_secret=secret).warnings() == ()


class TestLogs:
    def test_the_format_that_was_asked_for_is_taken(self) -> None:
        assert Settings(log_format="json").json_logs is True
        assert Settings(log_format="console").json_logs is False
