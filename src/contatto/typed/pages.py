"""Numbers as they are understood, told beside their fields while somebody types."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from contatto.accounts.auth import PageCaller
from contatto.kit.errors import Refused
from contatto.kit.i18n import Translator, translator_of
from contatto.kit.typed_numbers import LONGEST, read_amount, read_decimal, read_whole

router: Final = APIRouter(include_in_schema=False)
_PLACES: Final = 2


class NumberField(BaseModel):
    """A field with a number in it; without a currency an amount is of any one, with two decimals at most."""

    text: Annotated[str, Field(max_length=LONGEST * 2)] = ""
    kind: Literal["whole", "amount"] = "whole"
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


@router.get("/typed/number")
async def show_number(
    request: Request, caller: PageCaller, field: Annotated[NumberField, Query()]
) -> JSONResponse:
    """What a typed number means, in the member's language, or why it can mean nothing."""
    words = translator_of(request)
    try:
        says = _understood(field, words)
    except Refused as refused:
        detail = refused.detail_in(words).partition(": ")[2]
        return JSONResponse({"says": detail[:1].upper() + detail[1:], "is_number": False})
    return JSONResponse({"says": says, "is_number": True})


def _understood(field: NumberField, words: Translator) -> str:
    value: Any = None
    if field.kind == "whole":
        value = read_whole("number", field.text, words.lang)
    elif field.currency:
        micros = read_amount("number", field.text, field.currency, words.lang)
        return "" if micros is None else words.money(micros, field.currency)
    else:
        value = read_decimal("number", field.text, words.lang, _PLACES)
    return "" if value is None else words.number(value)
