"""The links by which a lead is reached."""

import pytest

from contatto.capture.model import Field
from contatto.leads.rules.records import ContactLinks, reach_of


@pytest.mark.parametrize(
    ("field", "value", "href", "whatsapp"),
    [
        (Field.PHONE, "+6591234567", "tel:+6591234567", "https://wa.me/6591234567"),
        (Field.PHONE, "+6561234567", "tel:+6561234567", ""),
        (Field.PHONE, "+12015550123", "tel:+12015550123", "https://wa.me/12015550123"),
        (Field.WHATSAPP, "+6561234567", "tel:+6561234567", "https://wa.me/6561234567"),
        (Field.EMAIL, "mei@example.com", "mailto:mei@example.com", ""),
        (Field.EMAIL, "a?subject=x@example.com", "mailto:a%3Fsubject%3Dx@example.com", ""),
        (Field.PHONE, "javascript:alert(1)", "", ""),
        (Field.WHATSAPP, "+65912\u0663", "", ""),
        (Field.INSTAGRAM, "mei", "", ""),
    ],
)
def test_a_detail_leads_to_what_reaches_it(field: Field, value: str, href: str, whatsapp: str) -> None:
    assert reach_of(field, value) == ContactLinks(href, whatsapp)
