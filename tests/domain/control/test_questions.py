"""Questions between nodes by way of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from hubbub.errors import HubbubError
from tests.support.nodes import Nodes

TIMEOUT_S = 20.0


async def answering(nodes: Nodes, *polling: str) -> None:
    """These nodes poll, until this is cancelled."""
    while True:
        for name in polling:
            node = nodes.a if name == "a" else nodes.b
            await nodes.at(node).chat.control.poll()
            # What answers is a task of its own, and logs its answer as the node that polled.
            for _ in range(20):
                await asyncio.sleep(0.001)


async def ask(nodes: Nodes, about: Mapping[str, Any], *, polling: str = "ab", timeout_s: float = TIMEOUT_S) -> Any:
    """a asks b."""
    background = asyncio.ensure_future(answering(nodes, *polling))
    try:
        return await nodes.at(nodes.a).chat.control.ask("b", "sum", about, timeout_s=timeout_s)
    finally:
        background.cancel()
        await asyncio.wait({background})


async def add(about: Mapping[str, Any]) -> Any:
    if about["of"] == []:
        raise HubbubError("not_found", "There is nothing to add.")
    return {"sum": sum(about["of"])}


class TestQuestions:
    async def test_another_node_answers(self, nodes: Nodes) -> None:
        nodes.b.chat.control.on_question("sum", add)
        assert await ask(nodes, {"of": [1, 2]}) == {"sum": 3}

    async def test_its_error_is_an_answer(self, nodes: Nodes) -> None:
        nodes.b.chat.control.on_question("sum", add)
        with pytest.raises(HubbubError, match="There is nothing to add") as caught:
            await ask(nodes, {"of": []})
        assert caught.value.code == "not_found"

    async def test_one_that_does_not_know_the_question_says_so(self, nodes: Nodes) -> None:
        with pytest.raises(HubbubError, match="bad_request"):
            await ask(nodes, {"of": [1]})

    async def test_a_node_that_does_not_answer_is_unavailable(self, nodes: Nodes) -> None:
        with pytest.raises(HubbubError, match="unavailable"):
            await ask(nodes, {"of": [1]}, polling="a", timeout_s=0.1)
        await nodes.poll()  # An answer for which nobody waits any more harms nobody.

    async def test_a_fault_of_the_other_is_no_answer(self, nodes: Nodes) -> None:
        async def fail(about: Mapping[str, Any]) -> Any:
            raise ZeroDivisionError

        nodes.b.chat.control.on_question("sum", fail)
        with pytest.raises(HubbubError, match="unavailable"):
            await ask(nodes, {"of": [1]}, timeout_s=0.2)

    async def test_a_node_asks_itself_without_the_log(self, nodes: Nodes) -> None:
        nodes.a.chat.control.on_question("sum", add)
        head = await nodes.history.ledger.head()
        assert await nodes.a.chat.control.ask("a", "sum", {"of": [4]}) == {"sum": 4}
        assert await nodes.history.ledger.head() == head

    async def test_closing_leaves_no_answer_under_way(self, nodes: Nodes) -> None:
        begun = asyncio.Event()

        async def never(about: Mapping[str, Any]) -> Any:
            begun.set()
            await asyncio.Event().wait()

        nodes.b.chat.control.on_question("sum", never)
        with pytest.raises(HubbubError, match="unavailable"):
            await ask(nodes, {"of": [1]}, polling="b", timeout_s=0.3)
        async with asyncio.timeout(TIMEOUT_S):
            await begun.wait()
            await nodes.b.chat.control.close()
