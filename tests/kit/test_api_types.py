"""Values as the API v1.3 writes them."""

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from contatto.kit import errors
from contatto.kit.api_types import (
    Amount,
    ApiId,
    ApiTime,
    JsonText,
    PageQuery,
    TextId,
    api_amount,
    describe_query,
    number_of,
    read_query,
)
from contatto.kit.errors import Refused


class Asked(PageQuery):
    advertiser_id: ApiId
    other_id: TextId = ""
    wanted: JsonText[list[ApiId]] = []  # noqa: RUF012 - pydantic copies it
    at: ApiTime | None = None
    budget: Amount | None = None
    lifetime: bool = False


def asked(query: str) -> Asked:
    return read_query(Request({"type": "http", "query_string": query.encode(), "headers": []}), Asked)


def test_a_query_as_the_sdk_sends_it_is_read() -> None:
    found = asked(
        "advertiser_id=7300000000000000001&wanted=%5B%2218%22%2C+19%5D&lifetime=True&at=null&budget=12.5"
    )
    assert found.advertiser_id == 7300000000000000001
    assert found.wanted == [18, 19]
    assert found.lifetime is True
    assert found.at is None
    assert found.budget == 12_500_000
    assert (found.page, found.page_size) == (1, 10)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "advertiser_id"),
        ("advertiser_id=abc", "advertiser_id"),
        ("advertiser_id=9223372036854775808", "advertiser_id"),
        ("advertiser_id=%D9%A1", "advertiser_id"),
        ("advertiser_id=-1", "advertiser_id"),
        ("advertiser_id=1&wanted=%5B", "wanted"),
        ("advertiser_id=1&wanted=%5B1.5%5D", "wanted.0"),
        ("advertiser_id=1&wanted=" + "%5B" * 100_000, "wanted"),
        ("advertiser_id=1&at=yesterday", "at"),
        ("advertiser_id=1&budget=NaN", "budget"),
        ("advertiser_id=1&budget=1e999", "budget"),
        ("advertiser_id=1&page=0", "page"),
        ("advertiser_id=1&page_size=1001", "page_size"),
        ("advertiser_id=1&lifetime=maybe", "lifetime"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(query: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(query)
    assert refused.value.code is errors.INVALID
    assert refused.value.detail.startswith(f"{field}: ")


def test_unknown_fields_are_ignored() -> None:
    assert asked("advertiser_id=1&rta_bid_enabled=False").advertiser_id == 1


def test_an_id_of_others_may_be_a_number_or_a_text() -> None:
    found = Asked.model_validate({"advertiser_id": "1", "other_id": 7400000000000000001})
    assert found.other_id == "7400000000000000001"


@pytest.mark.parametrize("text", ["", "abc", "-1", "1" * 20])
def test_a_path_that_holds_no_id_leads_nowhere(text: str) -> None:
    with pytest.raises(Refused) as refused:
        number_of(text)
    assert refused.value.code is errors.NOT_FOUND


def test_amounts_are_units() -> None:
    assert api_amount(12_500_000) == 12.5
    assert api_amount(None) is None


def test_lists_in_a_query_are_described_as_json() -> None:
    described = {each["name"]: each for each in describe_query(Asked)["parameters"]}
    assert described["advertiser_id"]["required"] is True
    assert "application/json" in described["wanted"]["content"]
    assert described["page"]["schema"]["type"] == "integer"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_of_a_surrogate_pair_is_no_letter(text: str) -> None:
    """JSON can spell it, and no database keeps it."""
    for values in ({"other_id": text}, {"wanted": [text]}, {"other_id": f"{text}x"}):
        with pytest.raises(ValidationError):
            Asked.model_validate({"advertiser_id": "1"} | values)
