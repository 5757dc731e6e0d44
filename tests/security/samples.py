"""A request to each way as its own tenant would make it: what pages offer, and what routes declare."""

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from contatto.accounts.model import Credential
from tests.journeys.running import API
from tests.journeys.running import ad_group as new_ad_group
from tests.once import made_once
from tests.security.attempts import Attempt
from tests.security.filling import picture
from tests.security.ids import place_of
from tests.security.invited import POINT, SECRET
from tests.security.pages import offered
from tests.security.routes import Way, ways
from tests.security.world import Tenant, World
from tools.reference_api import api_document

KINDS: Final = {
    "campaigns": "campaign_id",
    "ad-groups": "adgroup_id",
    "ads": "ad_id",
    "audiences": "audience_id",
}
"""What a number of an address is, by the word before it."""
LINKS: Final = {
    "/t/v/": "view", "/t/c/": "tap", "/invi": "invitation", "/pass": "reset", "/setu": "invitation",
}  # fmt: skip
"""Which of a tenant's links carries the token of an address, by how that begins; else that of a form."""
FIXED: Final = {
    "folder": "how-to", "page": "invite-colleagues", "platform": "tiktok", "connector": "webhook",
}  # fmt: skip
"""What names a page of the help, a platform, and a kind of CRM."""
PARENTS: Final = {"campaigns": "campaign_id", "ad-groups": "campaign_id", "ads": "adgroup_id"}
OF_SEVERAL_TABLES: Final = "failed_id"
"""An id whose first word says in which table it stands; each of them is attacked."""
TEXTS: Final = {
    "all": "false", "at": "2030-01-01T10:00", "budget": "50", "callback_url": "https://push.example.com/x",
    "client_message_id": "message-attack-1", "countries": "SG", "country": "SG", "due_on": "2030-01-01",
    "end_date": "2026-01-31", "event": "qualified_lead", "event_source": "crm", "event_time": "1795000000",
    "location_ids": "1880251", "name": "One more", "once": "", "optimization_goal": "LEAD_GENERATION",
    "privacy_policy_url": "https://push.example.com/p", "query": "", "reason": "twins", "seen": "",
    "start_date": "2026-01-01", "text": "email\nmei@push.example.com", "word": "ERASE", "website": "",
    "endpoint": "https://push.example.com/x", "public_key": POINT, "secret": SECRET,
    "body": "Hi there", "headline": "Hi", "label": "X", "policy_url": "https://push.example.com/p",
}  # fmt: skip
"""What a field is sent that is no id and has no choices."""


_known: dict[str, list[Attempt]] = {}


def own_attempts(world: World, tenant: Tenant) -> list[Attempt]:
    """Requests of a tenant to all ways of members, programs and apps; each way has at least one.

    They are collected once in a run from each world that was built: its copies have the same ids.
    """
    of = tenant.business_id
    if of not in _known:

        def make(folder: Path) -> None:
            (folder / "attempts").write_bytes(pickle.dumps(collect_attempts(world, tenant)))

        made = made_once(f"attempts-{of}", make)
        _known[of] = pickle.loads((made / "attempts").read_bytes())  # noqa: S301 - our own
    return _known[of]


def attempts_of(world: World, tenant: Tenant, way: Way) -> list[Attempt]:
    """The requests of a tenant to one way."""
    return [each for each in own_attempts(world, tenant) if each.way.name == way.name]


def collect_attempts(world: World, tenant: Tenant) -> list[Attempt]:
    """The same of a world that has become another one since it was built."""
    found = [_completed(each, tenant) for each in offered(world, tenant)]
    known = {each.way.name for each in found}
    for way in ways(Credential.MEMBER):
        if way.name not in known or OF_SEVERAL_TABLES in way.parameters:
            found += [_from_declared(way, path, tenant) for path in addresses(way, tenant)]
    for way in ways(Credential.PROGRAM, Credential.APP):
        found.append(_of_program(way, tenant))
    return found


def addresses(way: Way, tenant: Tenant) -> list[str]:
    """The addresses of a way with ids of a tenant, one for each kind if it serves several."""
    if OF_SEVERAL_TABLES in way.parameters:
        of_each = {each.partition("-")[0]: each for each in tenant.ids[OF_SEVERAL_TABLES]}
        return [_filled(way, tenant, {OF_SEVERAL_TABLES: each}) for each in of_each.values()]
    if "kind" not in way.parameters:
        return [_filled(way, tenant, {})]
    return [_filled(way, tenant, {"kind": kind}) for kind in PARENTS]


def _filled(way: Way, tenant: Tenant, given: Mapping[str, str]) -> str:
    parts = way.path.split("/")
    for number, part in enumerate(parts):
        name = part.strip("{}")
        if name == part:
            continue
        parts[number] = given.get(name) or _value_of(way, name, parts[number - 1], tenant)
    return "/".join(parts)


def _value_of(way: Way, name: str, before: str, tenant: Tenant) -> str:
    if name == "number":
        return tenant.ids[KINDS.get(before, "ad_id")][0]
    if name == "parent":
        return tenant.ids[PARENTS[before]][0]
    if name in FIXED:
        return FIXED[name]
    if name == "token":
        kind = {
            "/t/v/": "view",
            "/t/c/": "tap",
            "/invi": "invitation",
            "/pass": "reset",
            "/setu": "invitation",
        }.get(way.path[:5], "form")
        return tenant.links[kind].rpartition("/")[2]
    place = place_of(name) or ""
    if place == "business_id":
        return tenant.business_id
    values = tenant.ids[place]
    return values[-1] if name == "other_id" else values[0]


def _completed(attempt: Attempt, tenant: Tenant) -> Attempt:
    """What a page offers, with the ids that its script would add."""
    if attempt.form is None:
        return attempt
    known = {name for name, _ in attempt.form}
    declared = list(_declared_form(attempt.way, tenant))
    usual = TEXTS | dict(declared)
    shown = [
        (name, usual.get(name, "") if not value and not place_of(name) else value)
        for name, value in attempt.form
    ]
    more = [pair for pair in declared if pair[0] not in known and place_of(pair[0])]
    return Attempt(attempt.way, attempt.path, attempt.query, (*shown, *more))


def _from_declared(way: Way, path: str, tenant: Tenant) -> Attempt:
    if not way.changes:
        return Attempt(way, path)
    if way.path.endswith("/photos"):
        return Attempt(way, path, (("client_message_id", "message-attack-1"),), raw=picture(tenant.word))
    if way.path.endswith("/test"):
        return Attempt(way, path, body=filled_form(tenant))
    declared = tuple(_declared_form(way, tenant))
    return Attempt(way, path, form=declared or (("name", "X"), ("text", "X")))


def filled_form(tenant: Tenant) -> dict[str, Any]:
    """What the sheet of a form sends."""
    return {
        "page_id": tenant.ids["page_id"][0], "opening": "x", "submission_id": "submission-1",
        "language": "en", "answers": {"q1": "mei@push.example.com"}, "consents": ["c1"],
    }  # fmt: skip


def _declared_form(way: Way, tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Each field that the route declares, and those of its model, with a value that could be right."""
    sampler = Sampler(tenant, of_api=False)
    for field in way.dependant.body_params if way.dependant else ():
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            schema = kind.model_json_schema()
            for name, about in schema["properties"].items():
                yield from sampler.pairs(name, _resolved(schema, about))
        else:
            yield from sampler.pairs(field.name, TypeAdapter(kind).json_schema())


@dataclass(frozen=True, slots=True)
class Sampler:
    """Values for schemas without references: ids are the tenant's own, all else is what could be right."""

    tenant: Tenant
    of_api: bool
    """In the API ids are numbers, and a business is named by its account on the channel."""

    def of(self, name: str, schema: Mapping[str, Any]) -> Any:
        place = place_of(name)
        if "anyOf" in schema:
            return self.of(name, next(each for each in schema["anyOf"] if each.get("type") != "null"))
        if "const" in schema or "enum" in schema:
            choices = schema.get("enum") or [schema.get("const")]
            return TEXTS[name] if TEXTS.get(name) in choices else choices[0]
        if schema.get("type") == "array":
            return self.ids(place)[:2] if place else [self.of(name, schema.get("items", {}))]
        if schema.get("type") == "object":
            return self.fields_of(schema)
        return self.ids(place)[0] if place else self.plain(name, schema)

    def fields_of(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What is needed, what is an id, and what may hold one."""
        return {
            name: self.of(name, about)
            for name, about in schema.get("properties", {}).items()
            if name in schema.get("required", ())
            or place_of(name)
            or about.get("type") in ("object", "array")
        }

    def ids(self, place: str) -> list[str]:
        if self.of_api and place == "business_id":
            return [self.tenant.open_id]
        if self.of_api and place == "conversation_id":
            return [f"conversation of {self.tenant.word}1"]
        found = self.tenant.ids[place]
        numbers = [each for each in found if each.isdigit()] if self.of_api else []
        return numbers or list(found)

    def plain(self, name: str, schema: Mapping[str, Any]) -> Any:
        kind = schema.get("type")
        if kind == "integer":
            return int(TEXTS.get(name) or schema.get("minimum", 1))
        if kind == "number":
            return float(TEXTS.get(name) or 50)
        if kind == "boolean":
            return False
        return TEXTS.get(name, schema.get("default") or "X")

    def pairs(self, name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The value as fields of a form."""
        value = self.of(name, schema)
        for each in value if isinstance(value, list) else [value]:
            yield name, str(each)


def _may_hold_ids(schema: Mapping[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", ())]
    return any(each.get("type") in ("object", "array") for each in kinds)


def _of_program(way: Way, tenant: Tenant) -> Attempt:
    """A call of the API by its document; for the doors of an app with its own secret."""
    operation = _operations().get(way.name)
    if operation is None:  # the one door beside the API
        wanted = {"viewer_id": "viewer-1", "country": "SG", "channel_account_id": tenant.webchat_id}
        return Attempt(way, way.path, body=wanted)
    sampler = Sampler(tenant, of_api=True)
    query = tuple(_query_of(way, operation, tenant))
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        fields = content["multipart/form-data"]["schema"]["properties"]
        named = [each for each in fields.items() if each[0] != "file"]
        pairs = tuple(pair for name, about in named for pair in sampler.pairs(name, about))
        file = picture(tenant.word) if "/media/" in way.path else b"a" * 64
        return Attempt(way, way.path, query, form=pairs, file=file)
    if not content:
        return Attempt(way, way.path, query)
    body = sampler.fields_of(content["application/json"]["schema"])
    return Attempt(way, way.path, query, body=_known_body(way, tenant, body))


def _query_of(way: Way, operation: Mapping[str, Any], tenant: Tenant) -> Iterator[tuple[str, str]]:
    sampler = Sampler(tenant, of_api=True)
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        schema = parameter.get("schema") or parameter["content"]["application/json"]["schema"]
        wanted = {**_secrets(tenant), **QUERIES.get(way.path.removeprefix(API), {})}
        if name in wanted:
            if wanted[name] is None:
                continue
            value = wanted[name]
        elif parameter.get("required") or place_of(name) or name == "filtering":
            value = sampler.of(name, schema)
        else:
            continue
        yield name, value if isinstance(value, str) else json.dumps(value)


def _secrets(tenant: Tenant) -> dict[str, Any]:
    return {"app_id": tenant.app_id, "secret": tenant.app_secret}


QUERIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "/report/integrated/get/": {
        "data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id"], "query_lifetime": "True",
        "metrics": ["spend"], "filtering": [],
    },
    "/lead/get/": {"lead_source": "DIRECT_MESSAGE", "page_id": None},
}  # fmt: skip
"""What a query is asked with where its schema alone gives nothing that is taken."""


def _known_body(way: Way, tenant: Tenant, body: dict[str, Any]) -> dict[str, Any]:
    """The sampled body, corrected where what is right depends on more than the schema says."""
    short = way.path.removeprefix(API)
    group = new_ad_group(tenant.ids["campaign_id"][0], "LEAD_GENERATION", tenant.webchat_id)
    creative = {"ad_name": "X", "ad_text": "X", "call_to_action": "SEND_MESSAGE", "identity_type": "TT_USER",
                "identity_id": tenant.webchat_id, "auto_message_id": tenant.ids["auto_message_id"][0],
                "page_id": tenant.ids["page_id"][0], "ad_format": "SINGLE_VIDEO"}  # fmt: skip
    chat = {"business_id": tenant.open_id, "recipient": f"conversation of {tenant.word}1"}
    report = {"data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id"], "query_lifetime": True,
              "metrics": ["spend"], "filtering": []}  # fmt: skip
    one, other, *_ = tenant.ids["audience_id"]
    audiences = {"audience_ids": [one], "excluded_audience_ids": [other]}
    lead = {"lead_id": Sampler(tenant, of_api=True).ids("lead_id")[0], "lead_event_source": "crm"}
    told = {"event": "qualified_lead", "event_time": 1_795_000_000, "event_id": "attack", "lead": lead}
    welcome = {"welcome_message": {"content": "Hi"}}
    changed: dict[str, dict[str, Any]] = {
        "/adgroup/create/": group | {"page_id": tenant.ids["page_id"][0]} | audiences,
        "/ad/create/": {"creatives": [creative]},
        "/ad/update/": {"creatives": [{"ad_id": tenant.ids["ad_id"][0], "ad_name": "X"} | creative]},
        "/business/message/send/": chat | {"message_type": "TEXT", "text": {"body": "Hi"}},
        "/report/task/create/": report,
        "/adgroup/update/": audiences,
        "/smart_plus/adgroup/update/": audiences,
        "/dmp/custom_audience/update/": {"action": "APPEND"},
        "/event/track/": {"data": [told]},
        "/page/lead/task/": {"task_id": None},
        "/business/message/auto_message/create/": welcome,
        "/business/message/auto_message/update/": welcome,
        "/smart_plus/adgroup/create/": group | {"page_id": tenant.ids["page_id"][0]} | audiences,
    }
    made = body | _secrets_in(body, tenant) | changed.get(short, {})
    return {key: value for key, value in made.items() if value is not None}


def _secrets_in(body: Mapping[str, Any], tenant: Tenant) -> dict[str, Any]:
    secrets = {name: value for name, value in _secrets(tenant).items() if name in body}
    if "subscription_detail" in body:
        secrets["subscription_detail"] = body["subscription_detail"] | {"access_token": tenant.token}
    return secrets


@cache
def _operations() -> dict[str, dict[str, Any]]:
    """Operations of the API's document by method and path, without references."""
    document = api_document()
    return {
        f"{method.upper()} {path}": _resolved(document, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _resolved(document: Any, schema: Any, depth: int = 0) -> Any:
    """What a document says, with what it refers to in its place."""
    if isinstance(schema, list):
        return [_resolved(document, each, depth + 1) for each in schema]
    if not isinstance(schema, dict) or depth > 40:
        return schema
    if "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _resolved(document, found, depth + 1)
    return {key: _resolved(document, value, depth + 1) for key, value in schema.items()}
