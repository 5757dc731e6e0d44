"""A spreadsheet, as the Google Sheets API v4 speaks of its values."""

import re
from typing import Any, Final
from urllib.parse import unquote

from contatto.crm.model import CrmField
from contatto.simulator.crms.memory import MemoryCrm
from contatto.simulator.crms.server import Answered, Asked

TOKEN = "google-token"  # noqa: S105 - of a CRM in memory
SPREADSHEET: Final = "1BxiMVs0XRA5nF"
SHEET: Final = "Leads"
_RANGE: Final = re.compile(
    r"^'?(?P<sheet>[^'!]+)'?(?:!(?P<first>[A-Z]*)(?P<from>\d*)(?::(?P<last>[A-Z]*)(?P<to>\d*))?)?$"
)


class GoogleSheetsFake:
    """One sheet as rows of texts; ``crm`` counts its columns as fields and is otherwise empty."""

    def __init__(self, head: tuple[str, ...] = ()) -> None:
        self.rows: list[list[str]] = [list(head)] if head else []
        self.crm = MemoryCrm({name: CrmField(name, name) for name in head}, "Lead ID")

    def expired(self) -> Answered:
        return _error(401, "UNAUTHENTICATED")

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, _error(429, "RESOURCE_EXHAUSTED").body, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.expired()
        path, home = unquote(asked.path), f"/v4/spreadsheets/{SPREADSHEET}"
        if path == home:
            grid = {"rowCount": 1_000, "columnCount": 26}
            sheet = {"sheetId": 0, "title": SHEET, "index": 0, "gridProperties": grid}
            about = {"spreadsheetId": SPREADSHEET, "properties": {"title": "Leads of ours"}}
            return Answered(200, {**about, "sheets": [{"properties": sheet}]})
        cells, _, verb = path.removeprefix(f"{home}/values/").rpartition(":")
        if verb not in ("append", "clear"):
            cells, verb = path.removeprefix(f"{home}/values/"), asked.method
        where = _RANGE.match(cells)
        if where is None or where["sheet"] != SHEET or not path.startswith(home):
            return _error(400, "INVALID_ARGUMENT")
        return self._act(asked, verb, cells, where)

    def _act(self, asked: Asked, verb: str, cells: str, where: re.Match[str]) -> Answered:
        first = int(where["from"] or 1)
        is_open = ":" in cells and not where["to"]
        last = len(self.rows) if is_open else int(where["to"] or where["from"] or len(self.rows) or 1)
        if verb == "append":
            return self._append(asked.json(), cells)
        if verb == "clear":
            self._clear(first, last)
            return Answered(200, {"spreadsheetId": SPREADSHEET, "clearedRange": cells})
        if verb == "PUT":
            return self._put(asked.json(), first, cells)
        return self._get(asked, cells, first, last, is_column=where["first"] == where["last"] == "A")

    def _get(self, asked: Asked, cells: str, first: int, last: int, *, is_column: bool) -> Answered:
        rows = self.rows[first - 1 : last]
        if is_column:
            rows = [row[:1] for row in rows]
        if asked.query.get("majorDimension") == "COLUMNS":
            column = [row[0] if row else "" for row in rows]
            while column and not column[-1]:
                column.pop()
            rows = [column] if column else []
        answer: dict[str, Any] = {"range": cells, "majorDimension": asked.query.get("majorDimension", "ROWS")}
        return Answered(200, {**answer, "values": rows} if any(rows) else answer)

    def _put(self, body: dict[str, Any], first: int, cells: str) -> Answered:
        while len(self.rows) < first:
            self.rows.append([])
        row = self.rows[first - 1]
        for place, value in enumerate(body["values"][0]):
            while len(row) <= place:
                row.append("")
            row[place] = row[place] if value is None else str(value)
        return Answered(200, {"spreadsheetId": SPREADSHEET, "updatedRange": cells, "updatedRows": 1})

    def _append(self, body: dict[str, Any], cells: str) -> Answered:
        self.rows += [["" if value is None else str(value) for value in row] for row in body["values"]]
        updates = {"spreadsheetId": SPREADSHEET, "updatedRows": len(body["values"])}
        return Answered(200, {"spreadsheetId": SPREADSHEET, "tableRange": cells, "updates": updates})

    def _clear(self, first: int, last: int) -> None:
        for place in range(first - 1, min(last, len(self.rows))):
            self.rows[place] = []


def _error(status: int, code: str) -> Answered:
    return Answered(status, {"error": {"code": status, "message": code.lower(), "status": code}})
