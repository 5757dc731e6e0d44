"""Values and response types of the API v1.3."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, overload

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

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.numbers import read_number, to_micros, to_units
from contatto.kit.texts import check_texts
from contatto.kit.timestamps import YEARS

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
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("lists and objects in a query are JSON text") from error
    return check_texts(found)


_ID_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,18}$"})
_TIME_SCHEMA: Final = WithJsonSchema(
    {
        "type": "string",
        "pattern": r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8]) (0\d|1\d|2[0-3]):[0-5]\d:[0-5]\d$",
    }
)
_AMOUNT_SCHEMA: Final = WithJsonSchema({"type": "number", "minimum": 0})

type ApiId = Annotated[int, BeforeValidator(_read_id), PlainSerializer(str), _ID_SCHEMA]
"""An id of ours: 19 digits, sent as text; a number is accepted too."""
type TextId = Annotated[str, BeforeValidator(_read_text_id), Field(max_length=128)]
"""An id that others made, as text or number; always kept as text."""
type ApiTime = Annotated[datetime, BeforeValidator(_read_time), _TIME_SCHEMA]
type Amount = Annotated[int, BeforeValidator(_read_amount), _AMOUNT_SCHEMA]
"""An amount in units of the currency, read into micros."""
type JsonText[T] = Annotated[T, BeforeValidator(_read_json)]
"""A list or an object of a query, which comes as JSON text."""


class ApiModel(BaseModel):
    """A body or a query; fields that we do not know are ignored, as the SDK adds many.

    JSON can spell NUL and half of a surrogate pair, which is no letter; no database keeps them: refused.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_texts(cls, value: Any) -> Any:
        return check_texts(value)


class PageQuery(ApiModel):
    """Which page of a list is wanted."""

    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(10, ge=1, le=1_000)


def read_query[S: ApiModel](request: Request, shape: type[S]) -> S:
    """The query of a request in its shape; parameters that were given as ``null`` count as absent.

    Raises:
        Refused: INVALID, naming the field.
    """
    given = {name: value for name, value in request.query_params.items() if value not in ("null", "")}
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        says = first["msg"].removeprefix("Value error, ")
        raise Refused(errors.INVALID, f"{field}: {says}.") from error


def describe_query(shape: type[ApiModel]) -> dict[str, Any]:
    """The parameters of a query for the OpenAPI document."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.get("$defs", {})
    needed = set(schema.get("required", ()))
    parameters: list[dict[str, Any]] = []
    for name, about in schema["properties"].items():
        own = _inlined(about, definitions)
        simple = own.get("type") in ("string", "integer", "number", "boolean")
        described = {"schema": own} if simple else {"content": {"application/json": {"schema": own}}}
        parameters.append({"name": name, "in": "query", "required": name in needed, **described})
    return {"parameters": parameters}


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}


@overload
def api_time(moment: datetime) -> str: ...
@overload
def api_time(moment: None) -> None: ...
@overload
def api_time(moment: datetime | None) -> str | None: ...
def api_time(moment: datetime | None) -> str | None:
    """An instant as the API writes it, in UTC."""
    return None if moment is None else moment.astimezone(UTC).strftime(_TIME)


def api_amount(amount_micros: int | None) -> float | None:
    """Micros as units, the number that bodies of the API carry."""
    return None if amount_micros is None else float(to_units(amount_micros))


def request_id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def number_of(text: str) -> int:
    """The id in a path.

    Raises:
        Refused: NOT_FOUND, for a text that is no id.
    """
    try:
        return _read_id(text)
    except ValueError as error:
        raise Refused(errors.NOT_FOUND) from error


type IdText = Annotated[str, Meta(pattern="^[0-9]{1,19}$")]
"""An id of ours as the API writes it."""
type TimeText = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")]
"""An instant in UTC as the API writes it."""


def capitals(kinds: type[StrEnum]) -> Meta:
    """The words of an enum as the API writes them, in capitals."""
    return Meta(extra_json_schema={"enum": [kind.upper() for kind in kinds]})


class Answer(Struct, frozen=True):
    """The ``data`` of an answer, or a part of it, in the order of its fields.

    A field that may be absent has ``UnsetType`` among its types: what is UNSET is not written.
    """


class PartialAnswer(Answer, frozen=True):
    """The ``data`` of a request that may be done in part; it says which part was not."""


class Nothing(Answer, frozen=True):
    """An empty object: that the request was carried out says all."""


class PageInfo(Answer, frozen=True):
    """Which page of a list this is, and how much there is in all."""

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
    """A list whose rows have the fields that were asked for; all of them when none were."""


class ChosenList[R](Listed[R], frozen=True):
    """A page of such a list."""


def page_info(wanted: PageQuery, total: int) -> PageInfo:
    """Return where a page stands in a list of so many."""
    return PageInfo(wanted.page, wanted.page_size, total, -(-total // wanted.page_size))


def chosen[R: Answer](rows: Iterable[R], fields: Iterable[str] | None) -> list[R]:
    """Rows with the fields that were asked for; all of them when none were."""
    wanted = set(fields or ())
    return [_with_fields(row, wanted) if wanted else row for row in rows]


def _with_fields[R: Answer](row: R, wanted: set[str]) -> R:
    left_out = {name: UNSET for name in row.__struct_fields__ if name not in wanted}
    return replace(row, **left_out)
