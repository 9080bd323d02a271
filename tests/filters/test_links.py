"""Whatever a program would make a link of is one, and leads where a browser would go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.filters.folding import Folded, fold, masked
from hubbub.filters.links import HostList, links_in

HOSTS = st.lists(st.text(st.sampled_from("abz09-"), min_size=1, max_size=8), min_size=2, max_size=4).map(".".join)


def hosts(text: str) -> list[str]:
    return [link.host for link in links_in(fold(text))]


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("see http://evil.com/x?y now", "evil.com"),
            ("HTTPS://EVIL.COM:443", "evil.com"),
            ("evil.com", "evil.com"),
            ("(evil.com)", "evil.com"),
            ("..evil.com.", "evil.com"),
            ("http://good.org@evil.com/", "evil.com"),
            ("http://good.org:pw@evil.com/", "evil.com"),
            ("http://a.org(@evil.com", "evil.com"),
            ("http://evil.com\\@good.org", "evil.com"),
            ("https:evil.com", "evil.com"),
            ("http:/\\evil.com", "evil.com"),
            ("http:\\\\evil.com", "evil.com"),
            ("[here](http://evil.com)", "evil.com"),
            ("evil。com", "evil.com"),
            ("evil．com/", "evil.com"),
            ("e\u200bvil.com", "evil.com"),
            ("ⓔⓥⓘⓛ.com", "evil.com"),
            ("xn--bcher-kva.example/", "bücher.example"),
            ("BÜCHER.example/", "bücher.example"),
            ("http://localhost:80", "localhost"),
            ("http://[::1]:80/x", "[::1]"),
            ("1.2.3.4/x", "1.2.3.4"),
            ("http://2130706433/", "2130706433"),
            ("ftp://evil.com", "evil.com"),
            ("http://xn--99999999.com", "xn--99999999.com"),
        ],
    )
    def test_a_link_has_a_host(self, text: str, host: str) -> None:
        assert hosts(text) == [host]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "hello",
            "bob@evil.com",
            "@bob.evil.com",
            "@bob@evil.com",
            "1.2.3.4",
            "3.14",
            "e.g. this",
            "http://",
            "a:b",
        ],
    )
    def test_what_is_none_has_no_host(self, text: str) -> None:
        assert [host for host in hosts(text) if host != "e.g"] == []

    @given(HOSTS, st.sampled_from(["http://{}", "see {}/ now", "x http://u:p@{}:80/y?z#f", "({}/)", "https:\\\\{}"]))
    def test_a_host_is_found_in_whatever_it_stands(self, host: str, around: str) -> None:
        assert hosts(around.format(host)) == [host]

    @given(st.text(st.sampled_from("a.:/\\@[]-%xn。#? "), max_size=200))
    def test_anything_can_be_looked_at(self, text: str) -> None:
        for link in links_in(fold(text)):
            assert 0 <= link.start < link.end <= len(fold(text))


class TestLists:
    ALLOWED = HostList(allow=["example.org", "bücher.example"])
    DENIED = HostList(deny=["evil.com", "zip"])

    @pytest.mark.parametrize(
        "text",
        [
            "http://example.org",
            "sub.EXAMPLE.org/x",
            "www.example.org",
            "xn--bcher-kva.example",
            "none",
            "I am.Here I am",
        ],
    )
    def test_what_is_allowed_passes(self, text: str) -> None:
        assert not self.ALLOWED.hits(Folded(text))

    @pytest.mark.parametrize(
        "text",
        ["http://evil.com", "example.org.evil.com", "badexample.org", "http://localhost", "am.here/now", "www.am.here"],
    )
    def test_what_is_not_allowed_does_not(self, text: str) -> None:
        assert self.ALLOWED.hits(Folded(text))

    @pytest.mark.parametrize("text", ["evil.com", "www.evil.com", "http://a.b.evil.com./x", "file.zip"])
    def test_what_is_denied_is_found(self, text: str) -> None:
        assert self.DENIED.hits(Folded(text))

    @pytest.mark.parametrize("text", ["http://example.org", "notevil.com", "evil.com.example.org", "me@evil.com"])
    def test_what_is_not_denied_passes(self, text: str) -> None:
        assert not self.DENIED.hits(Folded(text))

    def test_bare_domains_may_be_left_alone(self) -> None:
        hosts = HostList(allow=[], bare=False)
        assert not hosts.hits(Folded("evil.com:80/x"))
        assert hosts.hits(Folded("http://evil.com"))

    def test_a_link_is_masked_to_its_end(self) -> None:
        text = "look: HTTP://Evil.com/a?b#c and evil.com/x, me@evil.com"
        assert masked(text, self.DENIED.stretches(Folded(text)), "[link]") == "look: [link] and [link] me@evil.com"

    @pytest.mark.parametrize("entry", ["", "http://example.org", "*.example.org", "example.org/x", "a b", ".org"])
    def test_an_entry_is_a_host(self, entry: str) -> None:
        with pytest.raises(ValueError, match="is not a host"):
            HostList(deny=[entry])

    @pytest.mark.parametrize(
        "text",
        ["a" * 8192, "a." * 4096, "a-" * 4096, "a@" * 4096, "://" * 2730, "a:" * 4096, "http://" + "a@" * 4000],
        ids=lambda text: text[:4],
    )
    def test_a_text_that_is_made_to_take_long_does_not(self, text: str) -> None:
        """Each takes a few milliseconds; what backtracks takes minutes."""
        self.ALLOWED.hits(Folded(text))
