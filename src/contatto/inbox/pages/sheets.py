"""The sheet of a form as markup. What is the same for all who see a version in a language is drawn once."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from fastapi import Request
from markupsafe import Markup

from contatto.channels.model import ChannelAccount
from contatto.forms.model import NOBODY, FormVersion, Known
from contatto.forms.rules.answers import sign_opening
from contatto.forms.rules.content import accepted_languages, best_language, text_of
from contatto.forms.rules.sheet import picture_path, show_sheet
from contatto.kit.i18n import translator_of
from contatto.kit.languages import translator_for
from contatto.ui.context import context_of, part_of
from contatto.ui.drawn import DrawnParts, Holes
from contatto.ui.render import draw

OPENING_KEY: Final = "form-opening"
"""The purpose under which the vault gives the signer of openings."""
_LONGEST_LANGUAGE: Final = 16
_HOLES: Final = Holes("opening", "base")


@dataclass(frozen=True, slots=True)
class SheetReader:
    """Who is shown a form.

    Attributes:
        account: whose form it is.
        visitor: for whom it is opened: a visitor's public id, or the thread of a link.
        known: what may be shown of them; nothing where the address alone opens the form, since a link may be
            passed on to somebody else.
        base: the address that the sheet sends to; that beside the chat if it is empty.
    """

    account: ChannelAccount
    visitor: str
    known: Known = NOBODY
    base: str = ""


@dataclass(frozen=True, slots=True)
class DrawnSheet:
    """A sheet as it goes into a page, and the headline of its form, with the language of both."""

    headline: str
    html: Markup
    language: str
    dir: str


def draw_sheet(request: Request, version: FormVersion, reader: SheetReader, language: str = "") -> DrawnSheet:
    """The sheet of a form in the wanted language, or the one that the reader's browser asks for."""
    context = context_of(request)
    accepted = accepted_languages(request.headers.get("accept-language", ""))
    asked = [language[:_LONGEST_LANGUAGE]] if language else [translator_of(request).lang, *accepted]
    chosen, now = best_language(version.content, asked), context.clock.now()
    signer = context.vault.signer(OPENING_KEY)
    opening = sign_opening(version.number, reader.visitor, int(now.timestamp()), signer)
    html = fill_sheet(part_of(request, DrawnParts), version, reader, chosen, opening, now)
    headline = text_of(version.content, "headline", chosen)
    return DrawnSheet(headline, html, chosen, translator_for(chosen).dir)


def fill_sheet(
    kept: DrawnParts, version: FormVersion, reader: SheetReader, language: str, opening: str, now: datetime
) -> Markup:
    """The sheet in one of the form's languages, kept if it can be; ``opening`` is its signed token."""
    fresh = partial(_draw, version, reader.account, language, now, reader.known)
    key = _key_of(version, reader, language, now)
    part = kept.find(key, fresh) if key is not None else fresh()
    base = reader.base or f"/chat/{reader.account.id}/form"
    return _HOLES.fill(part, {"opening": opening, "base": base})


def _key_of(version: FormVersion, reader: SheetReader, language: str, now: datetime) -> Hashable | None:
    """All that a sheet depends on; None if it shows details of its reader.

    A version never changes. Times to choose from lie on whole minutes.
    """
    questions = version.content.questions
    if any(each.prefill and reader.known.details.get(each.kind) for each in questions):
        return None
    minute = int(now.timestamp()) // 60 if any(each.hours for each in questions) else 0
    account, known = reader.account, reader.known
    return (
        version.business_id, version.id, account.id, account.name, language, known.is_back, minute,
        known.bookings,
    )  # fmt: skip


def _draw(version: FormVersion, account: ChannelAccount, language: str, now: datetime, known: Known) -> str:
    sheet = show_sheet(version.content, language, version.number, _HOLES.mark("opening"), now, known)
    values = {
        "account": {"id": account.id, "display_name": account.name},
        "form": sheet | {"image": picture_path(version.business_id, version.content.image)},
        "base": _HOLES.mark("base"),
        "preview": False,
    }
    return draw("forms/_sheet.html", values, translator_for(language))
