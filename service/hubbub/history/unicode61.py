"""What SQLite's tokenizer (`unicode61 remove_diacritics 2`) takes for parts of a word, and what it makes of them.

The words of a message in MongoDB have to be those that SQLite would find it by, whatever version of Unicode this Python
knows and whatever SQLite it was built with: they are stored, and looked for years later. So the tables of the tokenizer
(which are those of Unicode 6.1, https://sqlite.org/fts5.html#unicode61_tokenizer) are written down here. The tests
compare them with SQLite's own, character by character.

Numbers are hexadecimal: `a-b` is a range, `a-b/2` every other of one, `x>y` says that x becomes y, and a range that
many which follow y in the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["TABLE"]

_SEPARATORS: Final = """
    0-2f 3a-40 5b-60 7b-a9 ab-b1 b4 b6-b8 bb bf d7 f7 2c2-2c5 2d2-2df 2e5-2eb 2ed 2ef-2ff 305 30d-30e 310 312-31a
    31c-322 329-32c 32f 332-36f 375 37e 384-385 387 3f6 482-489 55a-55f 589-58a 58f 591-5c7 5f3-5f4 600-604 606-61b
    61e-61f 64b-65f 66a-66d 670 6d4 6d6-6e4 6e7-6ed 6fd-6fe 700-70d 70f 711 730-74a 7a6-7b0 7eb-7f3 7f6-7f9 816-819
    81b-823 825-827 829-82d 830-83e 859-85b 85e 8e4-8fe 900-903 93a-93c 93e-94f 951-957 962-965 970 981-983 9bc
    9be-9c4 9c7-9c8 9cb-9cd 9d7 9e2-9e3 9f2-9f3 9fa-9fb a01-a03 a3c a3e-a42 a47-a48 a4b-a4d a51 a70-a71 a75 a81-a83
    abc abe-ac5 ac7-ac9 acb-acd ae2-ae3 af0-af1 b01-b03 b3c b3e-b44 b47-b48 b4b-b4d b56-b57 b62-b63 b70 b82 bbe-bc2
    bc6-bc8 bca-bcd bd7 bf3-bfa c01-c03 c3e-c44 c46-c48 c4a-c4d c55-c56 c62-c63 c7f c82-c83 cbc cbe-cc4 cc6-cc8
    cca-ccd cd5-cd6 ce2-ce3 d02-d03 d3e-d44 d46-d48 d4a-d4d d57 d62-d63 d79 d82-d83 dca dcf-dd4 dd6 dd8-ddf df2-df4
    e31 e34-e3a e3f e47-e4f e5a-e5b eb1 eb4-eb9 ebb-ebc ec8-ecd f01-f1f f34-f3f f71-f87 f8d-f97 f99-fbc fbe-fcc
    fce-fda 102b-103e 104a-104f 1056-1059 105e-1060 1062-1064 1067-106d 1071-1074 1082-108d 108f 109a-109f 10fb
    135d-1368 1390-1399 1400 166d-166e 1680 169b-169c 16eb-16ed 1712-1714 1732-1736 1752-1753 1772-1773 17b4-17d6
    17d8-17db 17dd 1800-180e 18a9 1920-192b 1930-193b 1940 1944-1945 19b0-19c0 19c8-19c9 19de-19ff 1a17-1a1b
    1a1e-1a1f 1a55-1a5e 1a60-1a7c 1a7f 1aa0-1aa6 1aa8-1aad 1b00-1b04 1b34-1b44 1b5a-1b7c 1b80-1b82 1ba1-1bad
    1be6-1bf3 1bfc-1bff 1c24-1c37 1c3b-1c3f 1c7e-1c7f 1cc0-1cc7 1cd0-1ce8 1ced 1cf2-1cf4 1dc0-1de6 1dfc-1dff 1fbd
    1fbf-1fc1 1fcd-1fcf 1fdd-1fdf 1fed-1fef 1ffd-1ffe 2000-2064 206a-206f 207a-207e 208a-208e 20a0-20b9 20d0-20f0
    2100-2101 2103-2106 2108-2109 2114 2116-2118 211e-2123 2125 2127 2129 212e 213a-213b 2140-2144 214a-214d 214f
    2190-23f3 2400-2426 2440-244a 249c-24e9 2500-26ff 2701-2775 2794-2b4c 2b50-2b59 2ce5-2cea 2cef-2cf1 2cf9-2cfc
    2cfe-2cff 2d70 2d7f 2de0-2e2e 2e30-2e3b 2e80-2e99 2e9b-2ef3 2f00-2fd5 2ff0-2ffb 3000-3004 3008-3020 302a-3030
    3036-3037 303d-303f 3099-309c 30a0 30fb 3190-3191 3196-319f 31c0-31e3 3200-321e 322a-3247 3250 3260-327f
    328a-32b0 32c0-32fe 3300-33ff 4dc0-4dff a490-a4c6 a4fe-a4ff a60d-a60f a66f-a67e a69f a6f0-a6f7 a700-a716
    a720-a721 a789-a78a a802 a806 a80b a823-a82b a836-a839 a874-a877 a880-a881 a8b4-a8c4 a8ce-a8cf a8e0-a8f1
    a8f8-a8fa a926-a92f a947-a953 a95f a980-a983 a9b3-a9cd a9de-a9df aa29-aa36 aa43 aa4c-aa4d aa5c-aa5f aa77-aa79
    aa7b aab0 aab2-aab4 aab7-aab8 aabe-aabf aac1 aade-aadf aaeb-aaf1 aaf5-aaf6 abe3-abed fb1e fb29 fbb2-fbc1
    fd3e-fd3f fdfc-fdfd fe00-fe19 fe20-fe26 fe30-fe52 fe54-fe66 fe68-fe6b feff ff01-ff0f ff1a-ff20 ff3b-ff40
    ff5b-ff65 ffe0-ffe6 ffe8-ffee fff9-ffff 10100-10102 10137-1013f 10179-10189 10190-1019b 101d0-101fd 1039f 103d0
    10857 1091f 1093f 10a01-10a03 10a05-10a06 10a0c-10a0f 10a38-10a3a 10a3f 10a50-10a58 10a7f 10b39-10b3f
    11000-11002 11038-1104d 11080-11082 110b0-110c1 11100-11102 11127-11134 11140-11143 11180-11182 111b3-111c0
    111c5-111c8 116ab-116b7 12470-12473 16f51-16f7e 16f8f-16f92 1d000-1d0f5 1d100-1d126 1d129-1d1dd 1d200-1d245
    1d300-1d356 1d6c1 1d6db 1d6fb 1d715 1d735 1d74f 1d76f 1d789 1d7a9 1d7c3 1eef0-1eef1 1f000-1f02b 1f030-1f093
    1f0a0-1f0ae 1f0b1-1f0be 1f0c1-1f0cf 1f0d1-1f0df 1f110-1f12e 1f130-1f16b 1f170-1f19a 1f1e6-1f202 1f210-1f23a
    1f240-1f248 1f250-1f251 1f300-1f320 1f330-1f335 1f337-1f37c 1f380-1f393 1f3a0-1f3c4 1f3c6-1f3ca 1f3e0-1f3f0
    1f400-1f43e 1f440 1f442-1f4f7 1f4f9-1f4fc 1f500-1f53d 1f540-1f543 1f550-1f567 1f5fb-1f640 1f645-1f64f
    1f680-1f6c5 1f700-1f773 e0001 e0020-e007f e0100-e01ef"""
"""They end a word. Whatever is not listed, and not assigned in Unicode 6.1, is part of one."""

_MARKS: Final = """
    300-304 306-30c 30f 311 31b 323-328 32d-32e 330-331"""
"""Combining marks that are left out: they belong to the letter before them."""

_CASES: Final = """
    41-5a>61 c5-c9/2>61 e5-e9/2>61 172-176/2>75 173-177/2>75 1e0-1e4/2>1e1 246-24e/2>247 388-38a>3ad 391-3a1>3b1
    3a3-3ab>3c3 3d8-3ee/2>3d9 3fd-3ff>37b 400-40f>450 410-42f>430 460-480/2>461 48a-4be/2>48b 4c1-4cd/2>4c2
    4d0-526/2>4d1 531-556>561 10a0-10c5>2d00 1efa-1efe/2>1efb 1f08-1f0f>1f00 1f18-1f1d>1f10 1f28-1f2f>1f20
    1f38-1f3f>1f30 1f48-1f4d>1f40 1f59-1f5f/2>1f51 1f68-1f6f>1f60 1f88-1f8f>1f80 1f98-1f9f>1f90 1fa8-1faf>1fa0
    1fc8-1fcb>1f72 2160-216f>2170 2c00-2c2e>2c30 2c67-2c6b/2>2c68 2c80-2ce2/2>2c81 a640-a66c/2>a641 a680-a696/2>a681
    a722-a72e/2>a723 a732-a76e/2>a733 a77e-a786/2>a77f a7a0-a7a8/2>a7a1 ff21-ff3a>ff41 10400-10427>10428"""
"""Letters by their small ones, in ranges."""

_LETTERS: Final = """
    c0-c4+e0-e4+100-105+1cd-1ce+1de-1df+1fa-1fb+200-203+226-227+1e00-1e01+1ea0-1eb7+212b>61 1e02-1e07>62
    106-10d+1e08-1e09>63 10e-10f+1e0a-1e13>64 c8+ca-cb+e8+ea-eb+112-11b+204-207+228-229+1e14-1e1d+1eb8-1ec7>65
    1e1e-1e1f>66 11c-123+1e6-1e7+1f4-1f5+1e20-1e21>67 124-125+21e-21f+1e22-1e2b+1e96>68
    cc-cf+ec-ef+128-130+1cf-1d0+208-20b+1e2c-1e2f+1ec8-1ecb>69 134-135+1f0>6a 136-137+1e8-1e9+1e30-1e35+212a>6b
    139-13e+1e36-1e3d>6c 1e3e-1e43>6d d1+f1+143-148+1f8-1f9+1e44-1e4b>6e
    d2-d6+f2-f6+14c-151+1a0-1a1+1d1-1d2+1ea-1ed+20c-20f+22a-231+1e4c-1e53+1ecc-1ee3>6f 1e54-1e57>70
    154-159+210-213+1e58-1e5f>72 15a-161+17f+218-219+1e60-1e69+1e9b>73 162-165+21a-21b+1e6a-1e71+1e97>74
    d9-dc+f9-fc+168-171+1af-1b0+1d3-1dc+214-217+1e72-1e7b+1ee4-1ef1>75 1e7c-1e7f>76 1e80-1e89+1e98>77 1e8a-1e8d>78
    dd+fd+ff+178+232-233+1e8e-1e8f+1e99+1ef2-1ef9>79 179-17e+1e90-1e95>7a 1e9e>df c6>e6 d0>f0 d8>f8 de>fe 110>111
    126>127 132>133 13f>140 141>142 14a>14b 152>153 166>167 243>180 182>183 184>185 187>188 18b>18c 191>192 1f6>195
    198>199 23d>19a 220>19e 1a2>1a3 1a4>1a5 1a7>1a8 1ac>1ad 1b3>1b4 1b5>1b6 1b8>1b9 1bc>1bd 1f7>1bf 1c4-1c5>1c6
    1c7-1c8>1c9 1ca-1cb>1cc 18e>1dd 1ee>1ef 1f1-1f2>1f3 1fc>1fd 1fe>1ff 21c>21d 222>223 224>225 23b>23c 2c7e>23f
    2c7f>240 241>242 2c6f>250 2c6d>251 2c70>252 181>253 186>254 189>256 18a>257 18f>259 190>25b 193>260 194>263
    a78d>265 a7aa>266 197>268 196>269 2c62>26b 19c>26f 2c6e>271 19d>272 19f>275 2c64>27d 1a6>280 1a9>283 1ae>288
    244>289 1b1>28a 1b2>28b 245>28c 1b7>292 370>371 372>373 376>377 386>3ac 3d0>3b2 3f5>3b5 3d1+3f4>3b8 1fbe>3b9
    3f0>3ba b5>3bc 3d6>3c0 3f1>3c1 3c2>3c3 3d5>3c6 2126>3c9 38c>3cc 38e>3cd 38f>3ce 3cf>3d7 3f9>3f2 3f7>3f8 3fa>3fb
    4c0>4cf a77d>1d79 2c63>1d7d 1fba>1f70 1fbb>1f71 1fda>1f76 1fdb>1f77 1ff8>1f78 1ff9>1f79 1fea>1f7a 1feb>1f7b
    1ffa>1f7c 1ffb>1f7d 1fb8>1fb0 1fb9>1fb1 1fbc>1fb3 1fcc>1fc3 1fd8>1fd0 1fd9>1fd1 1fe8>1fe0 1fe9>1fe1 1fec>1fe5
    1ffc>1ff3 2132>214e 2183>2184 2c60>2c61 23a>2c65 23e>2c66 2c72>2c73 2c75>2c76 2ceb>2cec 2ced>2cee 2cf2>2cf3
    10c7>2d27 10cd>2d2d a779>a77a a77b>a77c a78b>a78c a790>a791 a792>a793"""
"""Letters by what they are without mark and case: several, joined by `+`, become the same one."""


def _numbers(text: str) -> Iterator[int]:
    """The characters of `a`, `a-b`, `a-b/2`."""
    span, _, step = text.partition("/")
    low, _, high = span.partition("-")
    yield from range(int(low, 16), int(high or low, 16) + 1, int(step or 1))


def _table() -> Iterable[tuple[int, str]]:
    for span in _SEPARATORS.split():
        yield from ((number, " ") for number in _numbers(span))
    for span in _MARKS.split():
        yield from ((number, "") for number in _numbers(span))
    for run in _CASES.split():
        span, _, first = run.partition(">")
        numbers = [*_numbers(span)]
        yield from ((number, chr(int(first, 16) + number - numbers[0])) for number in numbers)
    for group in _LETTERS.split():
        spans, _, letter = group.partition(">")
        yield from ((number, chr(int(letter, 16))) for span in spans.split("+") for number in _numbers(span))


TABLE: Final = dict(_table())
"""For `str.translate`: a space for what ends a word, nothing for what is left out; what is not in it stays."""
