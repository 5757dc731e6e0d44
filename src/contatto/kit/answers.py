"""What the API answers, as types: the same structs write the JSON and the schemas of the OpenAPI document."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, field
from msgspec.structs import replace

from contatto.kit.api_types import PageQuery

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
