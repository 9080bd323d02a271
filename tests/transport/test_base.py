"""The names of the seam, and that what is beneath it and above it fits them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hubbub.domain.ports import Outlet
from hubbub.namespaces.chat import ChatNamespace
from hubbub.transport.base import Connection, Handler, Handshake, Incoming, Link, Order
from hubbub.transport.connection import NamespaceConnection
from tests.support.connections import LooseConnection


def methods_of(protocol: type) -> dict[str, Any]:
    return {name: member for name, member in vars(protocol).items() if inspect.isfunction(member) and name[0] != "_"}


def shape(function: Any) -> list[tuple[str, Any, bool]]:
    """Names and kinds of the parameters, and which may be left out."""
    return [
        (each.name, each.kind, each.default is not inspect.Parameter.empty)
        for each in inspect.signature(function).parameters.values()
    ]


class TestTheSeam:
    @pytest.mark.parametrize(
        ("protocol", "made"),
        [
            (Connection, NamespaceConnection),
            (Connection, LooseConnection),
            (Handler, ChatNamespace),
            (Outlet, NamespaceConnection),
        ],
    )
    def test_what_fits_it_has_all_its_methods(self, protocol: type, made: type) -> None:
        methods = methods_of(protocol)
        assert methods
        for name, method in methods.items():
            assert shape(getattr(made, name)) == shape(method), name
            if method.__annotations__["return"].startswith("Coroutine"):
                continue  # An `async def` fits, and so does what passes on the coroutine of another.
            assert inspect.iscoroutinefunction(getattr(made, name)) == inspect.iscoroutinefunction(method), name

    def test_the_orders_are_three(self) -> None:
        assert [order.value for order in Order] == ["serial", "pipelined", "free"]


class TestLinks:
    def test_two_links_share_nothing(self) -> None:
        handshake = Handshake({}, {}, {}, "")
        one, other = Link("a", handshake), Link("b", handshake)
        one.connections["/chat"] = LooseConnection(other)
        assert set(other.connections) == {"/chat"}
        assert one.connections is not other.connections

    def test_links_and_events_are_told_apart_by_what_they_are_and_not_by_what_they_hold(self) -> None:
        handshake = Handshake({}, {}, {}, "")
        assert Link("a", handshake) != Link("a", handshake)
        assert Incoming("e", (), lambda: None) != Incoming("e", (), lambda: None)
        assert len({Link("a", handshake), Link("a", handshake)}) == 2

    def test_a_handshake_does_not_change(self) -> None:
        with pytest.raises(AttributeError):
            Handshake({}, {}, {}, "").address = "192.0.2.1"  # type: ignore[misc]
