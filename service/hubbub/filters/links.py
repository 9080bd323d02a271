"""Links in a text, and lists of hosts that they may or may not lead to.

A link is whatever programs that show messages make one of: `scheme://host`, and a bare domain such as `example.org/x`.
What follows an `@` belongs to an address of mail or to a mention, and is none. Hosts are compared in one form: in lower
case, folded, and with `xn--` labels decoded, as names were mapped by IDNA 2003; so `BÜCHER.example`,
`bücher。example` and `xn--bcher-kva.example` are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import regex

from hubbub.filters.folding import Folded, fold

__all__ = ["HostList", "Link", "links_in"]

_NAME: Final = r"\p{L}\p{N}\p{M}_\-"
_DOTS: Final = ".\u3002"
"""NFKC makes a full stop of the other two characters that separate labels (RFC 3490, section 3.1)."""

_LINK: Final = regex.compile(
    rf"""
    (?<![a-z0-9+.-]) [a-z][a-z0-9+.-]*+ : [/\\]{{2,}}
        (?P<authority> (?: \[[0-9a-f:.]++\] | [^\s/\\?\#<>"\[\]] )*+ ) (?P<rest>\S*+)
  | (?<![{_NAME}.%+]) [{_NAME}.%+]*+ (?: @ [{_NAME}{_DOTS}]*+ )++
  | (?<![{_NAME}]) (?P<bare> [{_NAME}]++ (?: [{_DOTS}] [{_NAME}]++ )++ ) (?P<tail> [/\\?\#]\S*+ | :\d++\S*+ )?+
    """,
    regex.VERBOSE,
)
_HOST: Final = regex.compile(rf"\[[0-9a-f:.]++\]|[{_NAME}{_DOTS}]++")
_ENTRY: Final = regex.compile(rf"\[[0-9a-f:.]+\]|[{_NAME}]++(?:[{_DOTS}][{_NAME}]++)*+\.?")

_LONGEST: Final = 253
"""Of a host's name, in characters (RFC 1035)."""

_ENDINGS: Final = """
com net org edu gov mil int info biz pro mobi xyz online site shop store app dev web blog cloud club click icu vip
website tech agency email casino zip mov рф рус укр бел срб мкд қаз сайт онлайн орг москва
中国 中國 公司 网络 한국 台灣 台湾 香港 भारत مصر ایران امارات السعودية ไทย
"""
"""Ends of names that are taken for domains wherever they stand, beside all of two letters. Any two words with a full
stop and no space between them look like one else.
"""

_DOMAINS: Final = frozenset(_ENDINGS.split())


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a folded text: its stretch, and its host in the form in which hosts are compared. It `is_certain`
    unless it may be two sentences with no space between them.
    """

    start: int
    end: int
    host: str
    has_scheme: bool
    is_certain: bool


def links_in(folded: str) -> Iterator[Link]:
    """The links in a folded text, in their order."""
    if "." not in folded and "\u3002" not in folded and ":" not in folded:
        return
    for match in _LINK.finditer(folded, concurrent=False):
        start, end = match.span()
        bare = match["bare"]
        if bare is not None:
            host = _canonical(bare)
            if len(host) <= _LONGEST and (match["tail"] is not None or not _is_number(host)):
                yield Link(start, end, host, False, match["tail"] is not None or ".xn--" in bare or _is_domain(host))
        elif match["authority"] is not None:
            found = _HOST.match(match["authority"].rpartition("@")[2], concurrent=False)
            if found is not None and (host := _canonical(found.group())):
                yield Link(start, end, host, True, True)


class HostList:
    """Hosts with all their sub-domains. `allow` names those that links may lead to, `deny` those that they may not; one
    of them is None. Unless `bare`, only links with a scheme count. An entry that is no host is a `ValueError`.
    """

    def __init__(self, *, allow: Iterable[str] | None = None, deny: Iterable[str] | None = None, bare: bool = True):
        self._allows = allow is not None
        self._hosts = frozenset(_entry(each) for each in (allow if allow is not None else deny or ()))
        self._bare = bare

    def hits(self, text: Folded) -> bool:
        """Whether a link leads where it may not."""
        return any(map(self._is_meant, self._links(text.folded)))

    def stretches(self, text: Folded) -> list[tuple[int, int]]:
        """Where such links are in the original text."""
        return [text.original(each.start, each.end) for each in self._links(text.mapped[0]) if self._is_meant(each)]

    def _links(self, folded: str) -> Iterator[Link]:
        return (link for link in links_in(folded) if self._bare or link.has_scheme)

    def _is_meant(self, link: Link) -> bool:
        if self._allows:
            return link.is_certain and not self._has(link.host)
        return self._has(link.host)

    def _has(self, host: str) -> bool:
        while host:
            if host in self._hosts:
                return True
            host = host.partition(".")[2]
        return False


def _entry(text: str) -> str:
    folded = fold(text)
    if _ENTRY.fullmatch(folded) is None:
        raise ValueError(
            f"{text!r} is not a host; give a name such as example.org, which stands for its sub-domains too"
        )
    return _canonical(folded)


def _canonical(host: str) -> str:
    labels = host.replace("\u3002", ".").strip(".").split(".")
    return ".".join(_label(each) for each in labels)


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return fold(label[4:].encode("ascii").decode("punycode"))
    except (UnicodeError, ValueError):
        return label


def _is_number(host: str) -> bool:
    return host.rpartition(".")[2].isdecimal()


def _is_domain(host: str) -> bool:
    ending = host.rpartition(".")[2]
    is_country = len(ending) == 2 and ending.isascii() and ending.isalpha()
    return is_country or ending in _DOMAINS or host.startswith("www.")
