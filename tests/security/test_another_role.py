"""Who lacks what a route asks for is told so and changes nothing; and every route says what it asks for."""

from contatto.access import ACCESS
from tests.security.routes import every_way


def test_every_route_says_who_may_use_it() -> None:
    undeclared = [way.name for way in every_way() if way.access is None]
    assert not undeclared, "add these to contatto/access.py; until then they let nobody in"


def test_the_table_names_no_route_that_is_gone() -> None:
    assert set(ACCESS) <= {way.name for way in every_way()}
