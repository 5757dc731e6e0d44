"""Google Sheets: one row a lead; the first row of the sheet names the columns, the first column is our id.

Values are written as they are (``RAW``), never as formulas. A row is found by reading the first column anew
each time, since people sort and delete rows; so the id of a record is our own.

Source: developers.google.com/sheets/api/reference/rest/v4 (spreadsheets.values: get, append, update, clear).
"""

import re
from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_text,
    bearer,
    json_request,
    keep,
    path_id,
    recall,
)
from contatto.crm.model import (
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    DescribeFields,
    Erased,
    EraseRecord,
    ErasureLevel,
    FieldGone,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FollowUp,
    FoundRecords,
    ListRecords,
    NoRecord,
    OAuth,
    Operation,
    ReadRecord,
    RecordsListed,
    Reply,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

NOTE: Final = "Note"
_ROWS: Final = 5_000
"""Rows of the first column that one request reads: an answer may have 256 KiB."""
_OUR_ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEAD, _AGAIN, _SCAN, _ROW, _PUT = "head", "again", "scan", "row", "put"
_RAW: Final = "valueInputOption=RAW"


def _send(link: CrmLink, method: str, cells: str, end: str = "", body: Any = None) -> HttpRequest:
    sheet = link.settings.get("sheet", "").replace("'", "''")
    where = quote(f"'{sheet}'!{cells}", safe="")
    path = f"/v4/spreadsheets/{path_id(link.settings.get('spreadsheet', ''))}/values/{where}{end}"
    return json_request(method, link.address + path, bearer(link) or {}, body)


def _head(link: CrmLink, _: Operation) -> HttpRequest:
    return _send(link, "GET", "1:1")


def _scan(link: CrmLink, first: int) -> HttpRequest:
    return _send(link, "GET", f"A{first}:A{first + _ROWS - 1}", "?majorDimension=COLUMNS")


def _enumerate(link: CrmLink, enumerate_: ListRecords) -> HttpRequest:
    return _scan(link, int(enumerate_.after or 2))


def _row_of(link: CrmLink, row: int) -> HttpRequest:
    return _send(link, "GET", f"{row}:{row}")


def _cells(body: Any) -> list[str] | None:
    """The first line of a range, as texts; None when the answer is none."""
    answer = as_dict(body)
    if "range" not in answer:
        return None
    lines = answer.get("values") or [[]]
    line = lines[0] if isinstance(lines, list) and lines else []
    return [as_text(cell) for cell in line] if isinstance(line, list) else []


def _wanted(operation: Any) -> str:
    """Our id in an operation."""
    if isinstance(operation, FindRecord):
        return operation.value
    return operation.record_id if isinstance(operation, ReadRecord) else operation.external_id


def _read_description(_link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    names = _cells(body)
    if names is None:
        return UNCLEAR
    return FieldsDescribed(tuple(CrmField(name, name) for name in names[1:] if name))


def _read_enumerated(_link: CrmLink, enumerate_: ListRecords, body: Any, _memory: str) -> Reply:
    """What people type into rows of their own is no id of ours."""
    cells = _cells(body)
    if cells is None:
        return UNCLEAR
    after = str(int(enumerate_.after or 2) + _ROWS) if len(cells) == _ROWS else ""
    return RecordsListed(tuple((cell, cell) for cell in cells if _OUR_ID.fullmatch(cell)), after)


def _go_on(link: CrmLink, operation: Any, body: Any, memory: str) -> Reply:
    """Read the head, then the first column until the id is there, then do what is asked with its row."""
    cells, known = _cells(body), as_dict(recall(memory)) if memory else {}
    step = as_text(known.get("step"))
    if step == _PUT:
        return _ended(operation, body)
    if step == _HEAD:
        return FollowUp(_head(link, operation), keep({"step": _AGAIN})) if body is not None else UNCLEAR
    if cells is None:
        return UNCLEAR
    if step == _ROW:
        return FoundRecords((_record(operation, known, cells),))
    if step == _SCAN:
        return _scanned(link, operation, known, cells)
    return FollowUp(_scan(link, 2), keep({"step": _SCAN, "head": cells, "first": 2}))


def _scanned(link: CrmLink, operation: Any, known: dict[str, Any], cells: list[str]) -> Reply:
    first = known.get("first")
    if not isinstance(first, int):
        return UNCLEAR
    wanted = _wanted(operation)
    if wanted in cells:
        return _with_row(link, operation, known, first + cells.index(wanted))
    if len(cells) == _ROWS:
        following = first + _ROWS
        return FollowUp(_scan(link, following), keep({**known, "first": following}))
    if isinstance(operation, WriteRecord):
        return _put(link, operation, known, None)
    return NoRecord()


def _with_row(link: CrmLink, operation: Any, known: dict[str, Any], row: int) -> Reply:
    if isinstance(operation, WriteRecord):
        return _put(link, operation, known, row)
    if isinstance(operation, EraseRecord):
        return FollowUp(_send(link, "POST", f"{row}:{row}", ":clear", {}), keep({"step": _PUT}))
    return FollowUp(_row_of(link, row), keep({**known, "step": _ROW}))


def _put(link: CrmLink, write: WriteRecord, known: dict[str, Any], row: int | None) -> Reply:
    """Fill the cells of the columns that are named; an empty sheet gets its head first."""
    head = [as_text(name) for name in known.get("head") or ()]
    if not head:
        names = ["Lead ID", *write.values, NOTE]
        request = _send(link, "PUT", "1:1", f"?{_RAW}", {"values": [names]})
        return FollowUp(request, keep({"step": _HEAD}))
    values = {**write.values, **({NOTE: write.note} if write.note and NOTE in head else {})}
    missing = next((name for name in write.values if name not in head), None)
    if missing is not None:
        return FieldGone(missing)
    line = [write.external_id, *(values.get(name) for name in head[1:])]
    if row is None:
        request = _send(
            link, "POST", "A1", f":append?{_RAW}&insertDataOption=INSERT_ROWS", {"values": [line]}
        )
    else:
        request = _send(link, "PUT", f"A{row}", f"?{_RAW}", {"values": [line]})  # null leaves a cell as it is
    return FollowUp(request, keep({"step": _PUT}))


def _ended(operation: Any, body: Any) -> Reply:
    if "spreadsheetId" not in as_dict(body):
        return UNCLEAR
    # earlier versions of the sheet stay in Google's version history
    return Erased(is_partial=True) if isinstance(operation, EraseRecord) else Written(operation.external_id)


def _record(operation: Any, known: dict[str, Any], cells: list[str]) -> CrmRecord:
    head = [as_text(name) for name in known.get("head") or ()]
    values = dict(zip(head, cells, strict=False))
    return CrmRecord(_wanted(operation), _wanted(operation), values)


class GoogleSheets(JsonApi):
    """The connector of Google Sheets, by OAuth."""

    traits = ConnectorTraits(
        name="google_sheets",
        label="Google Sheets",
        address="https://sheets.googleapis.com",
        settings=(
            ConnectorSetting(
                "spreadsheet",
                N_("Spreadsheet ID"),
                example="1BxiMVs0XRA5nF…",
                help=N_("The long part of its web address, between /d/ and /edit."),
            ),
            ConnectorSetting(
                "sheet",
                N_("Sheet name"),
                default="Leads",
                help=N_("The tab at the bottom of the spreadsheet."),
            ),
            ConnectorSetting(
                "client_id",
                N_("Client ID"),
                help=N_("In the Google Cloud console: Credentials, OAuth client of a web application."),
            ),
            ConnectorSetting(
                "client_secret",
                N_("Client secret"),
                is_secret=True,
                help=N_("Next to the client ID. Google shows it when you create the client."),
            ),
        ),
        finds_by=(FindBy.EXTERNAL_ID,),
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
        erases=ErasureLevel.PARTIAL,
        enumerates=True,
        oauth=OAuth(
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            ("https://www.googleapis.com/auth/spreadsheets",),
            (("access_type", "offline"), ("prompt", "consent")),
        ),
    )
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_head, _read_description),
        FindRecord: (_head, _go_on),
        ReadRecord: (_head, _go_on),
        WriteRecord: (_head, _go_on),
        EraseRecord: (_head, _go_on),
        ListRecords: (_enumerate, _read_enumerated),
    }

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        """A missing spreadsheet or sheet is a matter for a person, not a missing record."""
        return None

    def agrees(self, field: str, written: str, found: str) -> bool:
        """What was written as it is comes back as it is, but for spaces at its end."""
        return written.strip() == found.strip()

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return (
            f"https://docs.google.com/spreadsheets/d/{quote(link.settings.get('spreadsheet', ''), safe='')}"
        )
