"""What the errors of Salesforce mean.

Source: developer.salesforce.com, "REST API Developer Guide" (Status Codes and Error Responses), v62.0.
"""

import re
from typing import Any, Final

from contatto.crm.connectors.json_api import as_dict, as_dicts, as_text
from contatto.crm.model.operations import (
    Exists,
    Expired,
    FieldGone,
    Later,
    Nothing,
    Refused,
    Reply,
    ValueGone,
)

_TAKEN: Final = re.compile(r"record with id: ?([A-Za-z0-9]{15,18})")
_NO_COLUMN: Final = re.compile(r"No such column '([^']+)'")
_FIELD_GONE: Final = frozenset({"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"})
_VALUE_GONE: Final = frozenset({
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS",
    "NUMBER_OUTSIDE_VALID_RANGE", "INVALID_TYPE_ON_FIELD_IN_RECORD",
})  # fmt: skip
_BUSY: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE"})
_GONE: Final = frozenset(
    {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "CANNOT_UPDATE_CONVERTED_LEAD"}
)


def reply_of(error: dict[str, Any], retry_after_s: float | None) -> Reply | None:
    """The reply that one error of an answer stands for; None for one that says no more than the status."""
    code, text = as_text(error.get("errorCode")), as_text(error.get("message"))
    if code in _BUSY:
        return Later(code.lower(), retry_after_s)
    if code in _GONE:
        return Nothing()
    named = error.get("fields")
    field = as_text(named[0]) if isinstance(named, list) and named else ""
    column = _NO_COLUMN.search(text)
    plain: dict[str, Reply] = {
        "INVALID_SESSION_ID": Expired(),
        "REQUIRED_FIELD_MISSING": Refused("required_field_missing"),
        **dict.fromkeys(_FIELD_GONE, FieldGone(column[1] if column else field)),
        **dict.fromkeys(_VALUE_GONE, ValueGone(field)),
        **dict.fromkeys(("DUPLICATES_DETECTED", "DUPLICATE_VALUE"), Exists(_existing(error, text))),
    }
    return plain.get(code)


def _existing(error: dict[str, Any], text: str) -> str:
    """The record that is there already, from the duplicate rule's result or from the text."""
    result = as_dict(error.get("duplicateResult"))
    for match in as_dicts(result.get("matchResults")):
        for record in as_dicts(match.get("matchRecords")):
            record_id = as_text(as_dict(record.get("record")).get("Id"))
            if record_id:
                return record_id
    taken = _TAKEN.search(text)
    return taken[1] if taken is not None else ""
