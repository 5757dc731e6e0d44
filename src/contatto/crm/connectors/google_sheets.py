"""Google Sheets, with one row per lead: the first row has the column names, the first column our id.

Values are written as they are (``RAW``), never as formulas. A row is found by reading the first column anew
each time, since people sort and delete rows; so the id of a record is our own.

Source: developers.google.com/sheets/api/reference/rest/v4 (spreadsheets.values: get, append, update, clear).
"""

import re
from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_text
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpRequest

NOTE: Final = "Note"
_ROWS: Final = 5_000
"""Rows of the first column per request, as an answer has at most 256 KiB."""
_OUR_ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEAD_WRITTEN, _HEAD_READ, _SCAN, _ROW, _PUT = "head", "again", "scan", "row", "put"
"""Steps by the request that a reply answers, kept in the memory of a follow-up."""
_RAW: Final = "valueInputOption=RAW"


def _send(link: crm.CrmLink, method: str, cells: str, end: str = "", body: Any = None) -> HttpRequest:
    sheet = link.settings.get("sheet", "").replace("'", "''")
    where = quote(f"'{sheet}'!{cells}", safe="")
    path = f"/v4/spreadsheets/{api.path_id(link.settings.get('spreadsheet', ''))}/values/{where}{end}"
    return api.send(link, method, path, body)


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    """Read our ids to list them; every other operation reads the head first."""
    if isinstance(operation, crm.ListRecords):
        return _scan(link, int(operation.after or 2))
    return _send(link, "GET", "1:1")


def _scan(link: crm.CrmLink, first: int) -> HttpRequest:
    return _send(link, "GET", f"A{first}:A{first + _ROWS - 1}", "?majorDimension=COLUMNS")


def _cells(body: Any) -> list[str]:
    """Return the first line of a range, as texts."""
    answer = as_dict(body)
    if "range" not in answer:
        raise api.UnreadableReply
    lines = answer.get("values") or [[]]
    line = lines[0] if isinstance(lines, list) and lines else []
    return [as_text(cell) for cell in line] if isinstance(line, list) else []


def _our_id_of(operation: Any) -> str:
    if isinstance(operation, crm.FindRecord):
        return operation.value
    return operation.record_id if isinstance(operation, crm.ReadRecord) else operation.external_id


def _read_enumerated(_link: crm.CrmLink, enumerate_: crm.ListRecords, body: Any, _memory: Any) -> crm.Reply:
    """List our ids, without what people type into rows of their own."""
    cells = _cells(body)
    after = str(int(enumerate_.after or 2) + _ROWS) if len(cells) == _ROWS else ""
    return crm.RecordsListed(tuple((cell, cell) for cell in cells if _OUR_ID.fullmatch(cell)), after)


def _read_step(link: crm.CrmLink, operation: Any, body: Any, memory: Any) -> crm.Reply:
    """Read the reply to one step: the head, then the first column until our id, then its row."""
    state = as_dict(memory)
    step = as_text(state.get("step"))
    if step == _PUT:
        is_erased = isinstance(operation, crm.EraseRecord)
        # Earlier versions of the sheet stay in Google's version history.
        reply = crm.Erased(is_partial=True) if is_erased else crm.Written(operation.external_id)
        return reply if "spreadsheetId" in as_dict(body) else UNCLEAR
    if step == _HEAD_WRITTEN:
        head = crm.FollowUp(_encode(link, operation), {"step": _HEAD_READ})
        return UNCLEAR if body is None else head
    cells = _cells(body)
    if step == _ROW:
        names = [as_text(name) for name in state.get("head") or ()]
        values = dict(zip(names, cells, strict=False))
        return crm.FoundRecords((crm.CrmRecord(_our_id_of(operation), _our_id_of(operation), values),))
    if step == _SCAN:
        return _after_scan(link, operation, state, cells)
    return crm.FollowUp(_scan(link, 2), {"step": _SCAN, "head": cells, "first": 2})


def _after_scan(link: crm.CrmLink, operation: Any, state: dict[str, Any], cells: list[str]) -> crm.Reply:
    first, our_id = state.get("first"), _our_id_of(operation)
    if not isinstance(first, int):
        return UNCLEAR
    if our_id not in cells and len(cells) == _ROWS:
        following = first + _ROWS
        return crm.FollowUp(_scan(link, following), {**state, "first": following})
    row = first + cells.index(our_id) if our_id in cells else None
    if isinstance(operation, crm.WriteRecord):
        return _put(link, operation, state, row)
    if row is None:
        return crm.NoRecord()
    if isinstance(operation, crm.EraseRecord):
        return crm.FollowUp(_send(link, "POST", f"{row}:{row}", ":clear", {}), {"step": _PUT})
    return crm.FollowUp(_send(link, "GET", f"{row}:{row}"), {**state, "step": _ROW})


def _put(link: crm.CrmLink, write: crm.WriteRecord, state: dict[str, Any], row: int | None) -> crm.Reply:
    """Fill the cells of the named columns; an empty sheet gets its head first."""
    head = [as_text(name) for name in state.get("head") or ()]
    if not head:
        names = ["Lead ID", *write.values, NOTE]
        request = _send(link, "PUT", "1:1", f"?{_RAW}", {"values": [names]})
        return crm.FollowUp(request, {"step": _HEAD_WRITTEN})
    values = {**write.values, **({NOTE: write.note} if write.note and NOTE in head else {})}
    missing = next((name for name in write.values if name not in head), None)
    if missing is not None:
        return crm.FieldGone(missing)
    line = [write.external_id, *(values.get(name) for name in head[1:])]
    if row is None:
        request = _send(
            link, "POST", "A1", f":append?{_RAW}&insertDataOption=INSERT_ROWS", {"values": [line]}
        )
    else:
        request = _send(link, "PUT", f"A{row}", f"?{_RAW}", {"values": [line]})  # null keeps a cell
    return crm.FollowUp(request, {"step": _PUT})


class GoogleSheets(api.JsonApi):
    """Connector of Google Sheets, by OAuth."""

    traits = crm.ConnectorTraits(
        name="google_sheets",
        label="Google Sheets",
        address="https://sheets.googleapis.com",
        settings=(
            crm.ConnectorSetting(
                "spreadsheet",
                N_("Spreadsheet ID"),
                example="1BxiMVs0XRA5nF…",
                help=N_("The long part of its web address, between /d/ and /edit."),
            ),
            crm.ConnectorSetting(
                "sheet",
                N_("Sheet name"),
                default="Leads",
                help=N_("The tab at the bottom of the spreadsheet."),
            ),
            *api.app_settings(
                N_("In the Google Cloud console: Credentials, OAuth client of a web application."),
                N_("Next to the client ID. Google shows it when you create the client."),
            ),
        ),
        finds_by=(crm.FindBy.EXTERNAL_ID,),
        defaults=(
            ("created_at", "Created"),
            ("name", "Name"),
            ("email", "E-mail"),
            ("phone", "Phone"),
            ("whatsapp", "WhatsApp"),
            ("status", "Status"),
            ("campaign_name", "Campaign"),
            ("ad_name", "Ad"),
        ),
        upserts=True,
        enumerates=True,
        record_page="https://docs.google.com/spreadsheets/d/{spreadsheet}",
        oauth=crm.OAuth(
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            ("https://www.googleapis.com/auth/spreadsheets",),
            (("access_type", "offline"), ("prompt", "consent")),
        ),
    )
    missing_status = 0  # a missing spreadsheet or sheet is a matter for a person
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: lambda _link, _, body, _memory: crm.FieldsDescribed(
            tuple(crm.CrmField(name, name) for name in _cells(body)[1:] if name)
        ),
        **dict.fromkeys((crm.FindRecord, crm.ReadRecord, crm.WriteRecord, crm.EraseRecord), _read_step),
        crm.ListRecords: _read_enumerated,
    }

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        """Compare texts without outer spaces, as values are written unchanged."""
        return written.strip() == current.strip()
