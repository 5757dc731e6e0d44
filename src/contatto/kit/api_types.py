"""Values, requests and responses of the API v1.3."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, field
from msgspec.structs import replace
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from starlette.requests import Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import Gettext
from contatto.kit.values import YEARS, check_texts, read_number, to_micros, to_units

_TIME: Final = "%Y-%m-%d %H:%M:%S"


def _read_id(value: object) -> int:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    number = read_number(text)
    if number is None:
        raise ValueError("an id is a text of 1 to 19 digits")
    return number


def _read_text_id(value: object) -> str:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text:
        raise ValueError("an id is a text or a number")
    return text


def _read_time(value: object) -> datetime:
    try:
        time = datetime.strptime(str(value), _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError("a time is written YYYY-MM-DD HH:MM:SS, in UTC") from error
    if time.year not in YEARS:
        raise ValueError("a time lies between the years 1970 and 2199")
    return time


def _read_amount(value: object) -> int:
    plain = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    return to_micros(str(value) if plain else "")


def _read_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("lists and objects in a query are JSON text") from error
    return check_texts(decoded)


_ID_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,18}$"})
_TIME_SCHEMA: Final = WithJsonSchema(
    {
        "type": "string",
        "pattern": r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8]) (0\d|1\d|2[0-3]):[0-5]\d:[0-5]\d$",
    }
)
_AMOUNT_SCHEMA: Final = WithJsonSchema({"type": "number", "minimum": 0})

type ApiId = Annotated[int, BeforeValidator(_read_id), PlainSerializer(str), _ID_SCHEMA]
"""Own id: 19 digits, sent as text; a number is accepted too."""
type TextId = Annotated[str, BeforeValidator(_read_text_id), Field(max_length=128)]
"""Foreign id, as text or number; stored as text."""
type ApiTime = Annotated[datetime, BeforeValidator(_read_time), _TIME_SCHEMA]
type Amount = Annotated[int, BeforeValidator(_read_amount), _AMOUNT_SCHEMA]
"""An amount in units of the currency, read into micros."""
type JsonText[T] = Annotated[T, BeforeValidator(_read_json)]
"""A list or an object of a query, which comes as JSON text."""


class ApiModel(BaseModel):
    """Body or query; unknown fields are ignored, as the SDK adds many.

    JSON can spell NUL and half of a surrogate pair, which no database stores: refused.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    _check_texts = model_validator(mode="before")(check_texts)


class PageQuery(ApiModel):
    """Page of a list in a query."""

    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(10, ge=1, le=1_000)


def read_query[S: ApiModel](request: Request, shape: type[S]) -> S:
    """Parse the query of a request; ``null`` counts as absent. Raises INVALID with the field's name."""
    parameters = {name: value for name, value in request.query_params.items() if value not in ("null", "")}
    try:
        return shape.model_validate(parameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        says = first["msg"].removeprefix("Value error, ")
        raise Refused(errors.INVALID, f"{field}: {says}.") from error


def describe_query(shape: type[ApiModel]) -> dict[str, Any]:
    """Return the parameters of a query for the OpenAPI document."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.get("$defs", {})
    needed = set(schema.get("required", ()))
    parameters: list[dict[str, Any]] = []
    for name, about in schema["properties"].items():
        own = inline_references(about, definitions)
        simple = own.get("type") in ("string", "integer", "number", "boolean")
        described = {"schema": own} if simple else {"content": {"application/json": {"schema": own}}}
        parameters.append({"name": name, "in": "query", "required": name in needed, **described})
    return {"parameters": parameters}


def inline_references(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Resolve the references of a JSON schema at every depth; keep the keys beside a reference."""
    if isinstance(schema, list):
        return [inline_references(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    values = {key: inline_references(value, definitions) for key, value in schema.items() if key != "$ref"}
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return inline_references(target, definitions) | values
    return values


def api_time(moment: datetime) -> str:
    """Format an instant in UTC."""
    return moment.astimezone(UTC).strftime(_TIME)


def api_amount(amount_micros: int | None) -> float | None:
    """Return micros as a number of units."""
    return None if amount_micros is None else float(to_units(amount_micros))


def request_id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def number_of(text: str) -> int:
    """Parse the id in a path; raises NOT_FOUND for another text."""
    try:
        return _read_id(text)
    except ValueError as error:
        raise Refused(errors.NOT_FOUND) from error


type IdText = Annotated[str, Meta(pattern="^[0-9]{1,19}$")]
"""An id of ours as the API writes it."""
type TimeText = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")]
"""An instant in UTC as the API writes it."""


def capitals(kinds: type[StrEnum]) -> Meta:
    """Describe the words of an enum as the API writes them, in capitals."""
    return Meta(extra_json_schema={"enum": [kind.upper() for kind in kinds]})


class Answer(Struct, frozen=True):
    """``data`` of a response, or a part of it, in the order of its fields.

    A field that may be absent includes ``UnsetType`` in its type; UNSET is not written.
    """


class PartialAnswer(Answer, frozen=True):
    """``data`` of a request that was done in part; it names the failed part."""


class Nothing(Answer, frozen=True):
    """Empty object, for requests without a result."""


class PageInfo(Answer, frozen=True):
    """Position of a page in its list, and the size of the list."""

    page: int
    page_size: int
    total_number: int
    total_page: int


class Rows[R](Answer, frozen=True):
    """A list."""

    rows: list[R] = field(name="list")


class Listed[R](Rows[R], frozen=True):
    """A page of a list."""

    page_info: PageInfo


class ChosenRows[R](Rows[R], frozen=True):
    """List of rows with the requested fields, or with all of them."""


class ChosenList[R](Listed[R], frozen=True):
    """Page of a list of rows with the requested fields."""


def page_info(query: PageQuery, total: int) -> PageInfo:
    """Return the position of a page in a list of ``total`` rows."""
    return PageInfo(query.page, query.page_size, total, -(-total // query.page_size))


def chosen[R: Answer](rows: Iterable[R], fields: Iterable[str] | None) -> list[R]:
    """Return rows with the requested fields only, or with all of them."""
    requested = set(fields or ())
    if not requested:
        return list(rows)
    return [
        replace(row, **{name: UNSET for name in row.__struct_fields__ if name not in requested})
        for row in rows
    ]


WEBHOOK_LIMIT: Final = 64 * 1024
"""Largest webhook or chat body, in bytes."""

PARTIAL_CODE: Final = 20001
"""The API's number for a request that was done in part."""

_encode = msgspec.json.Encoder().encode


def too_large(limit: int) -> Refused:
    """Refuse a body of more bytes than a limit."""
    return Refused(errors.TOO_LARGE, "A request may have at most %(most)s KiB.", most=limit // 1024)


async def read_body(request: Request, limit: int = WEBHOOK_LIMIT) -> bytes:
    """Return the raw body, read no further than the limit.

    Raises:
        Refused: TOO_LARGE.
        ClientDisconnect: the client went away before the end.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")


def refusal_answer(refused: Refused, request_id: str, words: Gettext | None = None) -> Response:
    """Answer with a refusal as JSON: in English to a program, else in the language of a person's chat."""
    body = {
        "code": refused.code.name,
        "message": refused.said.in_language(words) if words else refused.detail,
        "remedy": words.gettext(refused.code.remedy) if words else refused.code.remedy,
        "request_id": request_id,
    }
    response = json_answer(body, refused.code.http_status)
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    return response


class Answered[A: Answer](Response):
    """The answer of an operation of the API; its type says what stands in ``data``."""


def api_answer[A: Answer](data: A, request_id: str, code: int = 0, message: str = "OK") -> Answered[A]:
    """Return data in the API's envelope: ``data`` is an object, ids and metrics in it are strings.

    Source: TikTok Business API v1.3, response conventions.
    """
    body = {"code": code, "message": message, "request_id": request_id, "data": data}
    return Answered(_encode(body), media_type="application/json")


def api_refusal(refused: Refused, request_id: str) -> Response:
    """Return a refusal in the API's envelope: always HTTP 200, the code says what happened."""
    message = f"{refused.detail} {refused.code.remedy}".strip()
    body = {"code": refused.code.api_code, "message": message, "request_id": request_id, "data": {}}
    return json_answer(body)
