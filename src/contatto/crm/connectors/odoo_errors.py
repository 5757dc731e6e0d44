"""What the exceptions of Odoo mean.

Source: odoo.com/documentation, 17.0, "ORM API" (odoo.exceptions); ``odoo/http.py`` (the names in answers).
"""

import re
from typing import Any, Final

from contatto.crm.connectors.json_api import as_dict, as_text
from contatto.crm.model.operations import Denied, Expired, FieldGone, Later, Nothing, Refused, Reply

_NO_FIELD: Final = re.compile(r"[Ii]nvalid field '?\"?(\w+)")


def trouble_of(error: dict[str, Any]) -> Reply:
    """What an exception of Odoo means, by its name."""
    data = as_dict(error.get("data"))
    name = as_text(data.get("name")).rpartition(".")[2]
    missing = _NO_FIELD.search(as_text(data.get("message")))
    if missing is not None:
        return FieldGone(missing[1])
    if name in ("OperationalError", "SerializationFailure", "LockNotAvailable"):
        return Later(name.lower())
    replies: dict[str, Reply] = {
        "MissingError": Nothing(),
        "AccessDenied": Denied("access_denied"),
        "AccessError": Denied("access_error"),
        "SessionExpiredException": Expired(),
        "ValidationError": Refused("validation_error"),
        "UserError": Refused("user_error"),
    }
    return replies.get(name, Refused("server_error"))
