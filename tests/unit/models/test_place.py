"""Places in the log of events: what they see, and what is none."""

from __future__ import annotations

import pytest

from app.models.event_log import Place


def test_a_place_is_written_and_read_as_postgresql_has_it() -> None:
    place = Place.parse("10:20:10,14")
    assert (place.begin, place.end, place.running) == (10, 20, {10, 14})
    assert str(place) == "10:20:10,14"
    assert str(Place.parse("20:20:")) == "20:20:"


def test_a_place_sees_what_had_ended() -> None:
    place = Place.parse("10:20:10,14")
    assert [xid for xid in range(8, 23) if place.sees(xid)] == [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]


def test_a_part_of_the_way_to_a_place_ends_behind_a_transaction() -> None:
    assert str(Place.parse("10:20:10,14").up_to(13)) == "10:14:10"
    assert str(Place.parse("10:20:10,14").up_to(17)) == "10:18:10,14"
    assert str(Place.parse("10:20:10,14").up_to(9)) == "10:10:"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "a:b:c",
        "0:0:",
        "3:2:",
        "1:9:5,3",
        "1:9:5,5",
        "4:9:3",
        "1:9:9",
        "1:9:,",
        "1:9:3,",
        f"1:{2**63}:",
        "1:٣:",
        "1:9999:" + ",".join(map(str, range(1, 5002))),
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        Place.parse(text)
