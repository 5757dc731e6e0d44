"""The reference page of the API, from its OpenAPI document."""

from functools import cache
from typing import Any

from fastapi import FastAPI

from contatto import __version__
from contatto.app import API_PREFIX, OPEN_PATHS, ROUTES
from contatto.kit.openapi import OperationRow, describe_api, list_operations
from tools.markdown import page, table

SAYS = """Every endpoint of the API, in the shapes of the TikTok Business API v1.3; what is ours alone says
"extension". Send the header `Access-Token`. Every answer is HTTP 200 with `code`, `message`, `request_id` and
`data`. `code` 0 means that all is well, and `data` has the fields under "Answer", those of a part behind its
name and a dot; [errors](errors.md) lists the other codes, with which `data` is empty. Lists and objects in a
query are JSON text. Unknown fields are ignored. A running server shows the same at `/docs`, and hands out the
OpenAPI document at `/openapi.json`, from which clients can be generated."""


@cache
def api_document() -> dict[str, Any]:
    """Return the OpenAPI document without a running server; change only a copy of it."""
    app = FastAPI(title="Contatto", version=__version__)
    app.router.routes.extend(ROUTES)
    return describe_api(app, API_PREFIX, OPEN_PATHS)


def api_page() -> str:
    parts, tag = [], ""
    for row in list_operations(api_document()):
        if row.tag != tag:
            tag = row.tag
            parts.append(f"## {tag}")
        parts.append(_operation(row))
    return page("The API", SAYS, *parts)


def _operation(row: OperationRow) -> str:
    lines = [f"### {row.method} {row.path}", row.summary]
    if row.says:
        lines.append(row.says.replace("``", "`"))
    if row.fields:
        rows = [
            (f"`{field.name}`", "yes" if field.needed else "", field.kind, field.says.replace("``", "`"))
            for field in row.fields
        ]
        lines.append(table(["Field", "Needed", "Value", "About"], rows))
    if row.answers:
        rows = [
            (
                f"`{field.name}`",
                "" if field.needed else "may be absent",
                field.kind,
                field.says.replace("``", "`"),
            )
            for field in row.answers
        ]
        lines.append(table(["Answer", "", "Value", "About"], rows))
    if row.example:
        lines.append(f"```json\n{row.example}\n```")
    return "\n\n".join(lines)
