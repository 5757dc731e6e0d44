"""OpenAPI document of the API, and its operations as rows of the reference."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from msgspec.json import schema_components

from contatto.kit import errors
from contatto.kit.api_types import (
    PARTIAL_CODE,
    Answer,
    Answered,
    ChosenList,
    ChosenRows,
    PartialAnswer,
    inline_references,
)

type Schema = dict[str, Any]
_REF: Final = "#/components/schemas/"
_REFUSAL: Final = "Refusal"
REFUSED: Final = {"$ref": _REF + _REFUSAL}
"""Refusal, which every operation may answer."""


def answer_types(app: FastAPI, prefix: str) -> Iterator[tuple[str, str, type[Answer] | None]]:
    """Yield path, method and answer type of each operation; the type is None for a file download."""
    for route in iter_route_contexts(app.routes):
        if route.endpoint is None or not (route.path or "").startswith(prefix):
            continue
        returned = get_type_hints(route.endpoint).get("return")
        kind = get_args(returned)[0] if get_origin(returned) is Answered else None
        for method in route.methods or ():
            yield route.path or "", method.lower(), kind


def describe_answers(types: Iterable[type[Answer]]) -> tuple[dict[type[Answer], Schema], dict[str, Schema]]:
    """Return the schema of each answer type (its envelope, or a refusal), and all named schemas by name."""
    kinds = sorted(set(types), key=lambda kind: kind.__name__)
    references, named = schema_components(kinds, ref_template=_REF + "{name}")
    names = {
        kind: str(reference["$ref"]).removeprefix(_REF)
        for kind, reference in zip(kinds, references, strict=True)
    }
    _type_enums(named)
    for kind, name in names.items():
        if issubclass(kind, ChosenRows | ChosenList):  # callers choose the fields, so none is required
            items = named[name]["properties"]["list"]
            row = items["items"]["$ref"].removeprefix(_REF)
            items["items"] = {"$ref": f"{_REF}Chosen{row}"}
            named[f"Chosen{row}"] = named[row] | {"title": f"Chosen{row}", "required": []}
    answers = {}
    for kind, name in names.items():
        codes = {"enum": [0, PARTIAL_CODE]} if issubclass(kind, PartialAnswer) else {"const": 0}
        named[f"{name}Envelope"] = _envelope(codes, {"$ref": _REF + name})
        answers[kind] = {"oneOf": [{"$ref": f"{_REF}{name}Envelope"}, REFUSED]}
    refusals = {"enum": sorted({code.api_code for code in errors.ALL})}
    return answers, named | {_REFUSAL: _envelope(refusals, {"type": "object", "maxProperties": 0})}


def _type_enums(schema: Any) -> None:
    """Add the type of enums of texts, for generated clients."""
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in below:
        _type_enums(part)
    words = schema.get("enum") if isinstance(schema, dict) else None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        schema.setdefault("type", "string")


def _envelope(code: Schema, data: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["code", "message", "request_id", "data"],
        "properties": {
            "code": {"type": "integer", "description": "0 when all is well; else what was wrong."} | code,
            "message": {"type": "string", "description": "What was wrong, and what to do."},
            "request_id": {"type": "string"},
            "data": data,
        },
    }


TOKEN_HEADER: Final = "Access-Token"  # noqa: S105 - the name of a header
_METHODS: Final = ("get", "post")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A parameter or a field of a body."""

    name: str
    kind: str
    needed: bool
    says: str


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation of the API; ``example`` is a body or a query as JSON, empty where there is none."""

    method: str
    path: str
    tag: str
    summary: str
    says: str
    fields: tuple[FieldRow, ...]
    example: str
    answers: tuple[FieldRow, ...] = ()
    """Fields of ``data``, nested ones with dotted names; ``needed`` ones are always present."""


def describe_api(app: FastAPI, prefix: str, open_paths: frozenset[str]) -> dict[str, Any]:
    """Return the document of all routes under a prefix; operations of ``open_paths`` need no token."""
    document = FastAPI.openapi(app)
    paths = {path: item for path, item in document["paths"].items() if path.startswith(prefix)}
    types = {(path, method): kind for path, method, kind in answer_types(app, prefix)}
    answers, named = describe_answers(kind for kind in types.values() if kind is not None)
    for path, item in paths.items():
        for method in _METHODS:
            if method in item:
                kind = types[path, method]
                operation = item[method]
                declared = operation.get("responses", {}).get("200", {}).get("content", {})
                files = {name: about for name, about in declared.items() if name != "application/json"}
                schema = REFUSED if kind is None else answers[kind]
                says = "The envelope; its code says whether the request was carried out."
                content = {"application/json": {"schema": schema}} | files
                operation["responses"] = {"200": {"description": says, "content": content}}
                if path not in open_paths:
                    operation["security"] = [{"token": []}]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name in schemas.keys() & named.keys():  # an enum may be in requests and in answers
        if set(schemas[name].get("enum", ())) != set(named[name].get("enum", name)):
            raise ValueError(f"{name} is a body and an answer: give one of them another name")
    document["components"]["schemas"] = named | schemas
    scheme = {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}
    document["components"]["securitySchemes"] = {"token": scheme}
    return document | {"paths": paths}


def list_operations(document: Mapping[str, Any]) -> list[OperationRow]:
    """Return the operations of a document, by tag and path."""
    rows = [
        _row(document, method, path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    return sorted(rows, key=lambda row: (row.tag, row.path))


def _row(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> OperationRow:
    summary, _, rest = str(operation.get("description", "")).strip().partition("\n\n")
    contents = operation.get("requestBody", {}).get("content", {}).values()
    schemas = document["components"]["schemas"]
    body: Mapping[str, Any] = next((inline_references(about["schema"], schemas) for about in contents), {})
    fields: list[FieldRow] = []
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema") or parameter["content"]["application/json"]["schema"]
        kind = _kind(schema) + ("" if "schema" in parameter else " as JSON text")
        needed = bool(parameter.get("required"))
        fields.append(FieldRow(parameter["name"], kind, needed, schema.get("description", "")))
    required = body.get("required", ())
    for name, about in body.get("properties", {}).items():
        kind = _kind(inline_references(about, schemas))
        fields.append(FieldRow(name, kind, name in required, about.get("description", "")))
    envelopes = operation["responses"]["200"]["content"]["application/json"]["schema"].get("oneOf", ())[:1]
    answers = [
        field
        for envelope in envelopes
        for field in _parts(inline_references(envelope, schemas)["properties"]["data"])
    ]
    example = body.get("example") or operation.get("x-example")
    return OperationRow(
        method.upper(),
        path,
        (operation.get("tags") or ["Other"])[0],
        " ".join(summary.split()),
        " ".join(rest.split()),
        tuple(fields),
        json.dumps(example, indent=2) if example else "",
        tuple(answers),
    )


def _parts(schema: Mapping[str, Any], above: str = "") -> Iterator[FieldRow]:
    """Yield the fields of an object, each followed by its nested fields."""
    needed = set(schema.get("required", ()))
    for name, about in schema.get("properties", {}).items():
        below = about.get("items", about)
        is_nullable = any(option.get("type") == "null" for option in about.get("anyOf", ()))
        kind = _kind(about) + (" or null" if is_nullable else "")
        yield FieldRow(f"{above}{name}", kind, name in needed, about.get("description", ""))
        yield from _parts(below, f"{above}{name}.")


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a type in words: its allowed values, or the type of its items."""
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "anyOf" in schema:
        kinds = [_kind(option) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
