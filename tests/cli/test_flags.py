"""The flags made from the declarations of settings."""

from __future__ import annotations

from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from hubbub.cli.flags import setting_flags
from hubbub.settings import Settings, declaration_of


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {param.name: param for param in command.params if isinstance(param, click.Option) and param.name is not None}


@click.command()
@setting_flags()
def everything(**flags: object) -> None:
    for name, value in flags.items():
        if value is not None:
            click.echo(f"{name}={value}")


@click.command()
@setting_flags(("store",))
def some(store: str | None) -> None:
    click.echo(store)


class TestFlags:
    @pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
    def test_each_setting_has_one_unless_it_is_secret(self, field: object) -> None:
        name: str = field.name  # type: ignore[attr-defined]
        secret = declaration_of(field.metadata).secret  # type: ignore[attr-defined]
        assert (name in options_of(everything)) is not secret

    def test_they_are_in_the_order_of_the_declarations(self) -> None:
        names = list(options_of(everything))
        assert names == [field.name for field in fields(Settings) if field.name in names]

    def test_only_those_that_were_given_have_a_value(self) -> None:
        result = CliRunner().invoke(everything, ["--max-body", "5", "--query-tokens", "on"])
        assert result.output.split() == ["max_body=5", "query_tokens=on"]

    def test_a_command_may_have_only_some(self) -> None:
        assert list(options_of(some)) == ["store"]

    def test_the_form_of_a_value_is_shown(self) -> None:
        options = options_of(everything)
        shown = [options[name].metavar for name in ("limits", "guests", "drain_s", "max_packet_bytes", "host")]
        assert shown == ["on|off", "auto|on|off", "SECONDS", "BYTES", "VALUE"]
