"""The file of leads: its columns, its rows, and when it is packed."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from contatto.forms.model import Answer, FormVersion
from contatto.forms.rules.outside import answer_data, field_labels
from contatto.kit.api_types import api_time
from contatto.kit.table_export import csv_lines
from contatto.leads.model.leads import ContactPoint, Lead
from contatto.leads.rules.outside import CHAT_FIELDS, ad_data, chat_data, source_of
from contatto.measurement.model import MeasuredAd

HEAD: Final = (
    "lead id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "form_id", "form_name",
)  # fmt: skip
_OF_AD: Final = ("ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id", "campaign_name")
CSV_LIMIT: Final = 10 * 1024 * 1024
"""A larger file is packed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the file: a lead, what earned it, its contact details, and the form that it sent, if any."""

    lead: Lead
    ad: MeasuredAd | None
    points: Sequence[ContactPoint] = ()
    version: FormVersion | None = None
    answers: tuple[Answer, ...] = ()


def form_table(version: FormVersion, entries: Iterable[Entry]) -> list[Sequence[str]]:
    """The leads of a form: the columns of all files, one for each question, and whether it is a test."""
    labels = list(field_labels(version.content).values())
    rows: list[Sequence[str]] = [(*HEAD, *labels, "is_test")]
    rows += [(*_own(entry), *_answered(entry, labels), _flag(entry)) for entry in entries]
    return rows


def ad_table(version: FormVersion | None, entries: Iterable[Entry]) -> list[Sequence[str]]:
    """The leads of an ad, of its form and of the chat: also their contact details, and their source."""
    labels = list(field_labels(version.content).values()) if version else []
    rows: list[Sequence[str]] = [(*HEAD, *labels, *CHAT_FIELDS, "lead_source", "is_test")]
    for entry in entries:
        data = chat_data(entry.lead, entry.points)
        source = source_of(entry.lead)
        details = [data.get(field, "") for field in CHAT_FIELDS]
        cells = (*_own(entry), *_answered(entry, labels), *details)
        rows.append((*cells, source.value if source else "", _flag(entry)))
    return rows


def pack_file(rows: Iterable[Sequence[str]]) -> tuple[bytes, str]:
    """The bytes of a file and its type: csv, or zip with a csv in it when that is too large."""
    content = b"".join(csv_lines(rows))
    if len(content) <= CSV_LIMIT:
        return content, "csv"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("leads.csv", (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue(), "zip"


def _own(entry: Entry) -> tuple[str, ...]:
    of_ad = ad_data(entry.ad)
    form = (str(entry.version.number), entry.version.name) if entry.version else ("", "")
    created = api_time(entry.lead.created_at) or ""
    return (str(entry.lead.number), created, *(of_ad[name] for name in _OF_AD), *form)


def _answered(entry: Entry, labels: Sequence[str]) -> list[str]:
    data = answer_data(entry.version.content, entry.answers) if entry.version else {}
    return [data.get(label, "") for label in labels]


def _flag(entry: Entry) -> str:
    return "TRUE" if entry.lead.is_test else "FALSE"
