"""The schemas of what the API answers, from the types that its endpoints return."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from msgspec.json import schema_components

from contatto.kit import errors
from contatto.kit.answers import Answer, ChosenList, ChosenRows, PartialAnswer
from contatto.kit.http import PARTIAL_CODE, Answered

type Schema = dict[str, Any]
_REF: Final = "#/components/schemas/"
_REFUSAL: Final = "Refusal"
REFUSED: Final = {"$ref": _REF + _REFUSAL}
"""What every operation may answer in place of what was asked: a file, or an envelope."""


class ApiRouter(APIRouter):
    """A router of the API: its endpoints say in their return type what they answer, and write it themselves.

    That type is ``Answered[...]``, or a plain response for a file.
    """

    def add_api_route(self, path: str, endpoint: Any, **options: Any) -> None:
        super().add_api_route(path, endpoint, **(options | {"response_model": None}))


def answer_types(app: FastAPI, prefix: str) -> Iterator[tuple[str, str, type[Answer] | None]]:
    """Path, method and type of answer of each operation; None where it answers with a file."""
    for route in iter_route_contexts(app.routes):
        if route.endpoint is None or not (route.path or "").startswith(prefix):
            continue
        returned = get_type_hints(route.endpoint).get("return")
        kind = get_args(returned)[0] if get_origin(returned) is Answered else None
        for method in route.methods or ():
            yield route.path or "", method.lower(), kind


def describe_answers(types: Iterable[type[Answer]]) -> tuple[dict[type[Answer], Schema], dict[str, Schema]]:
    """For each type what an operation with it answers, an envelope or a refusal; and all named schemas."""
    kinds = sorted(set(types), key=lambda kind: kind.__name__)
    references, named = schema_components(kinds, ref_template=_REF + "{name}")
    names = {kind: _name(reference) for kind, reference in zip(kinds, references, strict=True)}
    _type_enums(named)
    for kind, name in names.items():
        if issubclass(kind, ChosenRows | ChosenList):
            _loosen_rows(name, named)
    answers = {}
    for kind, name in names.items():
        codes = {"enum": [0, PARTIAL_CODE]} if issubclass(kind, PartialAnswer) else {"const": 0}
        named[f"{name}Envelope"] = _envelope(codes, {"$ref": _REF + name})
        answers[kind] = {"oneOf": [{"$ref": f"{_REF}{name}Envelope"}, REFUSED]}
    return answers, named | {_REFUSAL: _refusal()}


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix(_REF)


def _type_enums(schema: Any) -> None:
    """Say that words are texts, which generated clients want to be told."""
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for each in below:
        _type_enums(each)
    words = schema.get("enum") if isinstance(schema, dict) else None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        schema.setdefault("type", "string")


def _loosen_rows(name: str, named: dict[str, Schema]) -> None:
    """Rows of which fields can be chosen have none for certain."""
    items = named[name]["properties"]["list"]
    row = _name(items["items"])
    items["items"] = {"$ref": f"{_REF}Chosen{row}"}
    named[f"Chosen{row}"] = named[row] | {"title": f"Chosen{row}", "required": []}


def _refusal() -> Schema:
    codes = {code.api_code for code in errors.ALL}
    return _envelope({"enum": sorted(codes)}, {"type": "object", "maxProperties": 0})


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
