"""A rule file says what is refused and what is masked, where and for whom."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.filters.base import Draft, Room, Sender, Verdict
from hubbub.filters.folding import Folded
from hubbub.filters.rules import Rules, RulesError, parse
from hubbub.filters.wordlists import WordList
from tests.support.tree import ROOT

WORDS = '[[rule]]\nwords = ["bad", "very ugly"]\naction = "replace"\n'


def draft(body: str, *, room: str = "tea", roles: tuple[str, ...] = (), role: str | None = "member") -> Draft:
    return Draft(Room(room, "public", "Tea"), Sender("bob", "Bob", False, frozenset(roles), role), body)


def masks(rules: Rules, body: str) -> str:
    verdict = rules(draft(body))
    assert verdict is None or verdict.action == "replace"
    return body if verdict is None else verdict.text


def quoted(text: str) -> str:
    """As a TOML string."""
    return '"' + "".join(f"\\U{ord(each):08x}" for each in text) + '"'


class TestActions:
    def test_a_rule_refuses_with_its_sentence(self) -> None:
        rules = parse('[[rule]]\nwords = ["bad"]\naction = "refuse"\nmessage = "Be kind."\n')
        assert rules(draft("so bad")) == Verdict("refuse", "Be kind.")
        assert rules(draft("so good")) is None

    def test_without_one_there_is_a_sentence_all_the_same(self) -> None:
        verdict = parse('[[rule]]\nwords = ["bad"]\naction = "refuse"\n')(draft("bad"))
        assert verdict is not None
        assert verdict.text.endswith(".")

    def test_a_rule_masks(self) -> None:
        assert masks(parse(WORDS), "a BAD, very ugly day") == "a ***, **** **** day"
        assert masks(parse(WORDS + 'mask = "[…]"\n'), "a bad day") == "a […] day"

    def test_a_pattern_masks_what_it_finds(self) -> None:
        rules = parse('[[rule]]\npattern = \'\\d{4}( ?\\d{4}){3}\'\naction = "replace"\nmask = "[card]"\n')
        assert masks(rules, "pay 4000 1234 5678 9010 or 4000123456789010") == "pay [card] or [card]"

    def test_links_are_masked(self) -> None:
        rules = parse('[[rule]]\nlinks = { allow = ["example.org"] }\naction = "replace"\nmask = "[link]"\n')
        assert masks(rules, "see example.org/x and evil.com/y") == "see example.org/x and [link]"

    def test_what_one_rule_masked_the_next_does_not_see(self) -> None:
        text = WORDS + '[[rule]]\nwords = ["bad"]\naction = "refuse"\n'
        verdict = parse(text)(draft("bad"))
        assert verdict == Verdict("replace", "***")
        assert parse('[[rule]]\nwords = ["bad"]\naction = "refuse"\n' + WORDS)(draft("bad")) != verdict

    def test_a_file_without_rules_lets_everything_through(self) -> None:
        assert parse("# Nothing yet.\n")(draft("bad")) is None


class TestScope:
    def test_a_rule_holds_in_the_rooms_that_it_names(self) -> None:
        rules = parse('[[rule]]\nwords = ["bad"]\naction = "refuse"\nrooms = ["kids", "support-*"]\n')
        for room, refused in (("kids", True), ("support-7", True), ("tea", False), ("kids2", False), ("KIDS", False)):
            assert (rules(draft("bad", room=room)) is not None) == refused, room

    @pytest.mark.parametrize(
        ("roles", "role", "refused"),
        [
            ((), "member", True),
            ((), None, True),
            ((), "owner", False),
            (("admin",), "member", False),
            (("bot", "moderator"), "member", True),
        ],
    )
    def test_roles_can_be_exempt_of_the_token_and_of_the_room(
        self, roles: tuple[str, ...], role: str | None, refused: bool
    ) -> None:
        rules = parse('[[rule]]\nwords = ["bad"]\naction = "refuse"\nexempt = ["owner", "admin"]\n')
        assert (rules(draft("bad", roles=roles, role=role)) is not None) == refused


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[[rule", "not valid TOML"),
            ("rule = 1", "not a table"),
            ("rules = []", "'rules', which means nothing"),
            ("[[rule]]", "one of words, links and pattern"),
            ('[[rule]]\nwords = ["a"]\npattern = "b"\naction = "refuse"', "one of words, links and pattern"),
            ('[[rule]]\nwords = ["a"]', "must have an action"),
            ('[[rule]]\nwords = ["a"]\naction = "drop"', "must have an action"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nmesage = "b"', "'mesage', which means nothing"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nmask = "b"', "has a mask, but refuses"),
            ('[[rule]]\nwords = ["a"]\naction = "replace"\nmessage = "b"', "has a message, but replaces"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nmessage = 7', "a message that is no text"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nmessage = " "', "a message that says nothing"),
            ('[[rule]]\nwords = ["a"]\naction = "replace"\nmask = "\\u0000"', "with NUL in it"),
            ('[[rule]]\nwords = []\naction = "refuse"', "no list of words"),
            ('[[rule]]\nwords = "a"\naction = "refuse"', "no list of words"),
            ('[[rule]]\nwords = ["!"]\naction = "refuse"', "neither letters nor digits"),
            ('[[rule]]\npattern = "("\naction = "refuse"', "no regular expression"),
            ('[[rule]]\npattern = "x*"\naction = "refuse"', "matches the empty text"),
            ('[[rule]]\nlinks = ["a.b"]\naction = "refuse"', "links that are not"),
            ('[[rule]]\nlinks = { allow = [], deny = [] }\naction = "refuse"', "links that are not"),
            ('[[rule]]\nlinks = { allow = [], bare = 1 }\naction = "refuse"', "neither true nor false"),
            ('[[rule]]\nlinks = { deny = ["http://a.b"] }\naction = "refuse"', "is not a host"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nrooms = []', "no list of patterns"),
            ('[[rule]]\nwords = ["a"]\naction = "refuse"\nexempt = ["boss"]', "'boss', which is none of the roles"),
            (WORDS + 'name = "2"\n' + WORDS, "has the name of another rule"),
            (WORDS + 'name = ""\n', "a name that is no text"),
        ],
    )
    def test_each_is_told(self, text: str, told: str) -> None:
        with pytest.raises(RulesError, match=told):
            parse(text)

    def test_by_the_name_of_its_rule(self) -> None:
        with pytest.raises(RulesError, match="mistake in rule 'links': it must have an action"):
            parse(WORDS + '[[rule]]\nname = "links"\nlinks = { allow = [] }\n')
        with pytest.raises(RulesError, match="mistake in rule '2'"):
            parse(WORDS + "[[rule]]\n")


class TestTime:
    def test_a_pattern_that_takes_too_long_is_given_up(self) -> None:
        rules = parse('[[rule]]\npattern = "(a|aa)+$"\naction = "refuse"\n')
        with pytest.raises(TimeoutError):
            rules(draft("a" * 8000 + "b"))
        assert rules(draft("baa")) is not None

    def test_the_time_is_for_all_patterns_together(self) -> None:
        now = [0.0]

        def clock() -> float:
            now[0] += 0.02
            return now[0]

        rules = parse('[[rule]]\npattern = "x"\naction = "refuse"\n' * 5, clock=clock)
        with pytest.raises(TimeoutError):
            rules(draft("fine"))

    def test_a_long_list_costs_what_a_short_one_does(self) -> None:
        """Ten thousand words are looked up as one is: a text that takes longer for them would take a thousand times."""
        text = Folded("the quick brown fox jumps over it " * 6)
        few, many = WordList(["zzz"]), WordList([f"word{number}" for number in range(10_000)])
        took = []
        for words in (few, many):
            rounds = []
            for _ in range(20):
                before = time.perf_counter()
                words.hits(text)
                rounds.append(time.perf_counter() - before)
            took.append(min(rounds))
        assert took[1] < 20 * took[0] + 20e-6


ANY = st.text(
    st.sampled_from("abBäßⓐ𝐛\u200b .:/@x") | st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)


class TestAnything:
    @given(st.lists(st.text(st.sampled_from("abä"), min_size=1), min_size=1, max_size=5), ANY)
    def test_what_was_masked_passes_the_same_rules(self, words: list[str], body: str) -> None:
        rules = parse(f'[[rule]]\nwords = [{", ".join(map(quoted, words))}]\naction = "replace"\n')
        assert masks(rules, masks(rules, body)) == masks(rules, body)

    @given(ANY, st.sampled_from(["", "[x]", "*"]))
    def test_without_links_a_text_stays_as_it_is_and_else_has_none_left(self, body: str, mask: str) -> None:
        text = f'[[rule]]\nlinks = {{ allow = [] }}\naction = "replace"\nmask = "{mask}"\n'
        shown = masks(parse(text), body)
        if "." not in Folded(body).folded and "\u3002" not in Folded(body).folded and "//" not in Folded(body).folded:
            assert shown == body
        if mask == "[x]":
            assert masks(parse(text), shown) == shown

    @given(st.text(max_size=60))
    def test_any_text_is_rules_or_a_mistake(self, text: str) -> None:
        with contextlib.suppress(RulesError):
            parse(text)


class TestManual:
    """What docs/howto/moderate.md shows works as it stands there."""

    TEXT = (ROOT / "docs" / "howto" / "moderate.md").read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", self.TEXT, re.MULTILINE | re.DOTALL)

    def test_the_rules(self) -> None:
        [text] = self.blocks("toml")
        rules = parse(text)
        assert masks(rules, "You numbskull, 4000 1234 5678 9010!") == "You *********, [number]!"
        assert masks(rules, "see evil.com") == "see evil.com"
        verdict = rules(draft("see evil.com", room="support-1"))
        assert verdict == Verdict("refuse", "Links to other sites are not allowed here.")
        assert rules(draft("see evil.com", room="kids", role="moderator")) is None

    async def test_the_filters(self) -> None:
        [text] = self.blocks("py")
        names: dict[str, Any] = {}

        async def looks_like_spam(body: str) -> bool:
            return "buy" in body

        exec(text, names)
        names["looks_like_spam"] = looks_like_spam
        assert names["no_shouting"](draft("THIS IS LOUD")) == Verdict("replace", "this is loud")
        assert names["no_shouting"](draft("This is not")) is None
        guest = dataclasses.replace(draft("buy"), sender=Sender("g", "G", True, frozenset(), "member"))
        assert (await names["ask_the_classifier"](guest)).action == "refuse"
        assert await names["ask_the_classifier"](draft("buy")) is None
