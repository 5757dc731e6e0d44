"""What the API answers as types: fields in their order, absent ones, chosen ones, and their schemas."""

from enum import StrEnum
from typing import Annotated

import msgspec
import pytest
from fastapi import FastAPI
from msgspec import UNSET, UnsetType
from pydantic import create_model

from contatto.kit.api_types import (
    Answer,
    Answered,
    ChosenList,
    Nothing,
    PageQuery,
    PartialAnswer,
    api_answer,
    capitals,
    chosen,
    page_info,
)
from contatto.kit.openapi import answer_types, describe_answers, describe_api


class Colour(StrEnum):
    RED = "red"


class Bowl(Answer, frozen=True):
    """What soup is in."""

    bowl_id: str
    size: int | None
    colour: Annotated[str, capitals(Colour)]
    lid: str | UnsetType = UNSET


class Bowls(ChosenList[Bowl], frozen=True):
    """A page of bowls."""


class Broken(PartialAnswer, frozen=True):
    broken: list[str]


BOWL = Bowl("1", None, "RED")


def test_what_is_unset_is_not_written() -> None:
    assert msgspec.json.encode(BOWL) == b'{"bowl_id":"1","size":null,"colour":"RED"}'
    assert bytes(api_answer(BOWL, "r").body).endswith(b'"data":{"bowl_id":"1","size":null,"colour":"RED"}}')


def test_page_info_counts_the_last_part_page() -> None:
    wanted = PageQuery(page=2, page_size=10)
    assert msgspec.to_builtins(page_info(wanted, 21)) == {
        "page": 2, "page_size": 10, "total_number": 21, "total_page": 3
    }  # fmt: skip
    assert page_info(wanted, 0).total_page == 0


def test_rows_hold_the_chosen_fields() -> None:
    assert msgspec.json.encode(chosen([BOWL], ["size", "other"])) == b'[{"size":null}]'
    assert chosen([BOWL], None) == [BOWL]
    assert chosen([BOWL], []) == [BOWL]


def test_an_answer_is_described_by_its_type() -> None:
    answers, named = describe_answers([Bowl, Nothing])
    assert named["Bowl"]["required"] == ["bowl_id", "size", "colour"]
    assert named["Bowl"]["properties"]["colour"] == {"type": "string", "enum": ["RED"]}
    assert named["Bowl"]["properties"]["size"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert answers[Bowl]["oneOf"][0] == {"$ref": "#/components/schemas/BowlEnvelope"}
    assert named["BowlEnvelope"]["properties"]["data"] == {"$ref": "#/components/schemas/Bowl"}
    assert named["BowlEnvelope"]["properties"]["code"]["const"] == 0
    assert 40002 in named["Refusal"]["properties"]["code"]["enum"]


def test_rows_of_chosen_fields_need_none() -> None:
    _, named = describe_answers([Bowls])
    assert named["Bowls"]["properties"]["list"]["items"] == {"$ref": "#/components/schemas/ChosenBowl"}
    assert named["ChosenBowl"]["required"] == []
    assert named["Bowl"]["required"]


def test_what_is_done_in_part_has_a_code_of_its_own() -> None:
    _, named = describe_answers([Broken])
    assert named["BrokenEnvelope"]["properties"]["code"]["enum"] == [0, 20001]


def test_the_type_of_an_endpoint_is_what_it_returns() -> None:
    app = FastAPI()

    @app.get("/api/bowl/", response_model=None)
    async def get_bowl() -> Answered[Bowl]:
        return api_answer(BOWL, "r")

    assert list(answer_types(app, "/api")) == [("/api/bowl/", "get", Bowl)]


def test_a_body_and_an_answer_cannot_share_a_name() -> None:
    app, sent = FastAPI(), create_model("Bowl", size=(int, ...))

    async def post_bowl(body: sent) -> Answered[Bowl]:  # type: ignore[valid-type]
        return api_answer(BOWL, "r")

    app.add_api_route("/api/bowl/", post_bowl, methods=["POST"], response_model=None)
    with pytest.raises(ValueError, match="Bowl is a body and an answer"):
        describe_api(app, "/api", frozenset())
