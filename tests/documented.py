"""The operations of the API as their document describes them: generators of requests, one for each."""

from copy import deepcopy
from typing import Any, Final

import schemathesis

from tools.reference_api import api_document

OPERATIONS: Final[dict[str, Any]] = {
    found.ok().label: found.ok()  # type: ignore[union-attr]  # a document of ours has no errors
    for found in schemathesis.openapi.from_dict(deepcopy(api_document())).get_all_operations()
}
"""By method and path."""
