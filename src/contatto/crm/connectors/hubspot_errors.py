"""What HubSpot says of a write that it does not take: by its texts and codes, not by its status."""

import re
from typing import Any, Final

from contatto.crm.connectors.json_api import as_dict, as_dicts, as_text
from contatto.crm.model.operations import Exists, FieldGone, Reply, ValueGone

_EXISTING: Final = re.compile(r"[Ee]xisting ID: ?([0-9]+)")
_MISSING: Final = re.compile(r'[Pp]roperty "?\'?([A-Za-z0-9_]+)"?\'? does not exist')


def trouble_of_write(body: dict[str, Any]) -> Reply | None:
    """What HubSpot says more exactly than by its status: in the body, or one by one in a batch."""
    for error in (body, *as_dicts(body.get("errors"))):
        text = as_text(error.get("message"))
        existing = _EXISTING.search(text)
        if existing is not None:
            return Exists(existing[1])
        missing = _MISSING.search(text)
        if missing is not None:
            return FieldGone(missing[1])
        code = as_text(error.get("code") or error.get("error"))
        name = _property_named(error)
        if code == "PROPERTY_DOESNT_EXIST":
            return FieldGone(name)
        if code in ("INVALID_OPTION", "INVALID_EMAIL", "INVALID_LONG", "INVALID_DATE", "INVALID_STRING"):
            return ValueGone(name)
        if as_text(error.get("category")) == "CONFLICT":
            return Exists()
    return None


def _property_named(error: dict[str, Any]) -> str:
    """The property that an error is about: HubSpot names it in one of two places."""
    named = as_dict(error.get("context")).get("propertyName")
    first = named[0] if isinstance(named, list) and named else error.get("name")
    return as_text(first)
