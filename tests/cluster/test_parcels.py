"""What is packed comes out the same, in parcels of bounded size, and nothing that comes from outside does harm."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.cluster.bus import Offer, Whisper
from hubbub.cluster.parcels import PARCEL_BYTES, ParcelError, is_of, pack, unpack

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole = st.integers(0, 2**53 - 1)
documents = st.binary(max_size=200).map(lambda data: memoryview(data))
offers = st.builds(Offer, whole, whole, texts, whole, st.lists(texts, max_size=3).map(tuple), documents)
whispers = st.builds(Whisper, texts, texts, texts, documents)


class TestParcels:
    @given(texts, st.lists(offers, max_size=6), st.lists(whispers, max_size=6))
    def test_they_hold_what_was_packed(self, origin: str, said: list[Offer], whispered: list[Whisper]) -> None:
        out_offers: list[Offer] = []
        out_whispers: list[Whisper] = []
        for parcel in pack(origin, said, whispered):
            by, some_offers, some_whispers = unpack(parcel)
            assert by == origin
            out_offers += some_offers
            out_whispers += some_whispers
        assert (out_offers, out_whispers) == (said, whispered)

    def test_a_batch_is_one_parcel_and_a_large_one_is_several(self) -> None:
        small = [Offer(rev, rev, "ada", 1, (), memoryview(b"{}")) for rev in range(500)]
        assert len(list(pack("n", small, []))) == 1
        large = [Offer(rev, rev, "ada", 1, (), memoryview(b"x" * 100_000)) for rev in range(10)]
        parcels = list(pack("n", large, []))
        assert all(len(parcel) < PARCEL_BYTES + 1000 for parcel in parcels)
        assert [offer.rev for parcel in parcels for offer in unpack(parcel)[1]] == list(range(10))
        assert list(pack("n", [], [])) == []

    @pytest.mark.parametrize("name", ["n1.0123", 'a"b\\c', "ä", ""])
    def test_whose_it_is_is_seen_without_taking_it_apart(self, name: str) -> None:
        (parcel,) = pack(name, [Offer(1, 1, "ada", 1, (), memoryview(b"{}"))], [])
        assert is_of(name, parcel)
        assert not is_of(name + "4", parcel)
        assert not is_of(name[:-1] or "n", parcel)
        assert not is_of(name, b"")

    @given(st.binary(max_size=100))
    def test_anything_else_is_refused(self, parcel: bytes) -> None:
        try:
            unpack(parcel)
        except ParcelError:
            return
        assert orjson.loads(parcel.partition(b"\n")[0])[1] == []

    @pytest.mark.parametrize(
        "heads",
        [
            [[5]],
            [[-1, "a", "b", "c"]],
            [[1, "a", "b", "c"]],
            [["x", "a", "b", "c"]],
            [7],
            {"a": 1},
            [[0, 1, 2, 3, 4, 5]],
            [[0, "1", 2, "ada", 4, []]],
            [[0, 1, 2.5, "ada", 4, []]],
            [[0, 1, 2, None, 4, []]],
            [[0, 1, 2, "ada", True, []]],
            [[0, 1, 2, "ada", 4, [["bob"]]]],
            [[0, {}, "key", "ada"]],
            [[0, "typing", ["key"], "ada"]],
            [[0, "typing", "key", 7]],
        ],
    )
    def test_heads_that_do_not_fit_are_refused(self, heads: object) -> None:
        with pytest.raises(ParcelError):
            unpack(orjson.dumps(["n", heads]) + b"\n")
