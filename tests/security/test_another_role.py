"""Who lacks what a route asks for is told so and changes nothing; and every route says what it asks for."""

from pathlib import Path

from contatto.access import ACCESS
from tests.journeys.running import running_house
from tests.security.routes import every_way


def test_every_route_says_who_may_use_it() -> None:
    undeclared = [way.name for way in every_way() if way.access is None]
    assert not undeclared, "add these to contatto/access.py; until then they let nobody in"


def test_the_table_names_no_route_that_is_gone() -> None:
    assert set(ACCESS) <= {way.name for way in every_way()}


def test_a_plain_route_is_held_to_the_table_too(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        house.make_ad("LEAD_GENERATION")
        asked = {"viewer_id": "viewer-1", "country": "SG"}
        for token, status in ((house.token, 200), ("contatto_forged", 401), ("", 401)):
            answer = house.client.post("/delivery/decide", json=asked, headers={"Access-Token": token})
            assert answer.status_code == status, answer.text
