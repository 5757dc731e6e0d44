"""CRMs in memory that speak the APIs of hosted vendors."""

import re
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from urllib.parse import unquote

from contatto.crm.connectors.hubspot import OUR_ID as HUBSPOT_ID
from contatto.crm.connectors.salesforce import OUR_ID as SALESFORCE_ID
from contatto.crm.connectors.zoho import OUR_ID as ZOHO_ID
from contatto.crm.model import CrmField
from contatto.simulator.crms.server import (
    StoredRecord,
    Vendor,
    VendorRequest,
    VendorResponse,
    WrongValue,
    stamp,
)

HUBSPOT_TOKEN = "hubspot-token"  # noqa: S105 - of a CRM in memory
_HUBSPOT_CONTACTS = "/crm/v3/objects/contacts"


def _hubspot_error(status: int, category: str, message: str, **more: Any) -> VendorResponse:
    body = {"status": "error", "message": message, "category": category, "correlationId": "0195e2a7", **more}
    return VendorResponse(status, body)


class HubSpotFake(Vendor):
    """HubSpot in memory."""

    credential = f"Bearer {HUBSPOT_TOKEN}"
    expired = _hubspot_error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired")
    throttled = _hubspot_error(429, "RATE_LIMITS", "You have reached your secondly limit.")
    missing = _hubspot_error(404, "OBJECT_NOT_FOUND", "Object not found.")
    our_id, unique, merges_anew = HUBSPOT_ID, ("email", HUBSPOT_ID), True
    fields = (
        CrmField("email", "Email"),
        CrmField("phone", "Phone number"),
        CrmField("mobilephone", "Mobile phone"),
        CrmField("hs_whatsapp_phone_number", "WhatsApp"),
        CrmField("firstname", "First name"),
        CrmField("lastname", "Last name"),
        CrmField("message", "Message"),
        CrmField("hubspot_owner_id", "Owner"),
        CrmField("hs_lead_status", "Lead status", choices=(("NEW", "New"), ("OPEN", "Open"))),
    )
    """Properties of contacts as a new account has them, without ours."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        if wrong.kind == "exists":
            return _hubspot_error(409, "CONFLICT", f"Contact already exists. Existing ID: {wrong.subject}")
        code, text = "INVALID_OPTION", "is not one of the allowed options"
        if wrong.kind == "field":
            code, text = "PROPERTY_DOESNT_EXIST", f'Property "{wrong.subject}" does not exist'
        inner = {"message": text, "code": code, "context": {"propertyName": [wrong.subject]}}
        return _hubspot_error(400, "VALIDATION_ERROR", "Property values were not valid", errors=[inner])

    def route(self, request: VendorRequest) -> VendorResponse:
        path, body, status = request.path.rstrip("/"), request.json(), 200
        if path == "/crm/v3/owners":
            return VendorResponse(200, {"results": [{"id": "7", "email": "sam@example.com"}]})
        if path == "/crm/v3/properties/contacts":
            return self._properties(body)
        act = path.removeprefix(_HUBSPOT_CONTACTS).removeprefix("/")
        acts = {"search": self._search, "batch/upsert": self._upsert}
        if act in acts:
            return acts[act](body)
        if act == "gdpr-delete":
            self.crm.erase(self._named(body["objectId"], body.get("idProperty", "")))
            return VendorResponse(204)
        if act == "merge":
            source, target = (self._named(body[name], "") for name in ("objectIdToMerge", "primaryObjectId"))
            if source is target:
                return _hubspot_error(400, "VALIDATION_ERROR", "These records have been merged already.")
            record = self.crm.merge(source.id, target.id)
        elif act:
            record = self._named(act, request.query.get("idProperty", ""))
            if request.method == "PATCH":
                self.crm.change(record, body["properties"])
        else:
            record, status = self.crm.make(body["properties"]), 201
        names = request.query.get("properties", "").split(",") if request.method == "GET" else None
        return VendorResponse(status, self._shown(record, names))

    def _properties(self, new: dict[str, str]) -> VendorResponse:
        """Return all properties, or a new one."""
        if new.get("name") in self.crm.fields:
            return _hubspot_error(409, "CONFLICT", f"Property named {new['name']} already exists")
        if new:
            self.crm.fields[new["name"]] = CrmField(new["name"], new["label"])
        properties = []
        for crm_field in self.crm.fields.values():
            kind, form = ("enumeration", "select") if crm_field.choices else ("string", "text")
            options = [
                {"value": value, "label": label, "hidden": False} for value, label in crm_field.choices
            ]
            properties.append({
                "name": crm_field.name, "label": crm_field.label, "type": kind, "fieldType": form,
                "options": options, "description": "", "groupName": "contactinformation", "hidden": False,
                "modificationMetadata": {
                    "readOnlyValue": False, "readOnlyDefinition": False, "archivable": True,
                },
            })  # fmt: skip
        return VendorResponse(201, properties[-1]) if new else VendorResponse(200, {"results": properties})

    def _named(self, name: str, id_property: str) -> StoredRecord:
        if id_property:
            return self.crm.find(id_property, name, at_once=True)[0]
        record = self.crm.records[name]
        while record.became:
            record = self.crm.records[record.became]
        return self.crm.live_record(record.id)

    def _shown(self, record: StoredRecord, names: list[str] | None = None) -> dict[str, Any]:
        former = ";".join(source.id for source in self.crm.records.values() if source.became == record.id)
        values = {**record.values, "lastmodifieddate": stamp(record.changed_at), "hs_object_id": record.id,
                  "hs_merged_object_ids": former}  # fmt: skip
        if names is not None:
            values = {name: values.get(name, "") for name in (*names, "hs_object_id") if name}
        times = {"createdAt": stamp(record.made_at), "updatedAt": stamp(record.changed_at)}
        return {"id": record.id, "properties": values, "archived": False, **times}

    def _upsert(self, body: dict[str, Any]) -> VendorResponse:
        results = []
        for row in body["inputs"]:
            if row["idProperty"] not in self.crm.fields:
                raise WrongValue("field", row["idProperty"])
            record, is_new = self.crm.upsert(row["idProperty"], row["id"], row["properties"])
            results.append({**self._shown(record), "new": is_new})
        done = {"startedAt": stamp(self.crm.next_time()), "completedAt": stamp(self.crm.next_time())}
        done["status"] = "COMPLETE"
        return VendorResponse(200, {"results": results, **done})

    def _search(self, body: dict[str, Any]) -> VendorResponse:
        matches = [
            record
            for record in self.crm.live(at_once=False)
            if any(self._fits(record, group) for group in body["filterGroups"])
        ]
        name = body["sorts"][0]["propertyName"] if body.get("sorts") else "createdate"
        time = attrgetter("changed_at" if name == "lastmodifieddate" else "made_at", "number")
        matches.sort(key=time)
        page = [self._shown(record, body.get("properties")) for record in matches[: body.get("limit", 10)]]
        return VendorResponse(200, {"total": len(matches), "results": page})

    def _fits(self, record: StoredRecord, group: dict[str, Any]) -> bool:
        values = self._shown(record)["properties"]
        for condition in group["filters"]:
            value, operator = str(values.get(condition["propertyName"]) or ""), condition["operator"]
            if operator == "GTE":
                passes = datetime.fromisoformat(value) >= datetime.fromisoformat(condition["value"])
            elif operator == "GT":
                passes = int(value) > int(condition["value"])
            elif operator == "NOT_IN":
                passes = value not in condition["values"]
            else:
                passes = bool(value) and value.casefold() == condition.get("value", value).casefold()
            if not passes:
                return False
        return True


SALESFORCE_TOKEN = "salesforce-session"  # noqa: S105 - of a CRM in memory
_SALESFORCE_PATH: Final = re.compile(r"^/services/data/v[0-9.]+")
_SOQL: Final = re.compile(
    r"SELECT (?P<columns>.+?) FROM (?P<source>\w+)(?: WHERE (?P<where>.+?))?"
    r"(?: ORDER BY (?P<order>.+?))?(?: LIMIT (?P<limit>\d+))?$",
    re.DOTALL,
)
_SOQL_TEST: Final = re.compile(
    r"(?P<name>[\w.]+) (?P<sign>=|!=|>=|>|NOT IN) (?P<value>'(?:[^'\\]|\\.)*'|\([^)]*\)|\S+?)(?=\)|$)"
)


def _salesforce_error(status: int, code: str, message: str, **more: Any) -> VendorResponse:
    return VendorResponse(status, [{"errorCode": code, "message": message, **more}])


class SalesforceFake(Vendor):
    """Salesforce in memory; a duplicate rule blocks a second lead of one e-mail address."""

    credential = f"Bearer {SALESFORCE_TOKEN}"
    expired = _salesforce_error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    throttled = _salesforce_error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    missing = _salesforce_error(404, "NOT_FOUND", "The requested resource does not exist")
    our_id, unique, id_form = SALESFORCE_ID, ("Email", SALESFORCE_ID), "00Q{:015d}"
    fields = (
        CrmField("LastName", "Last Name", is_required=True, limit=80),
        CrmField("FirstName", "First Name", limit=40),
        CrmField("Company", "Company", is_required=True, limit=255),
        CrmField("Email", "Email"),
        CrmField("Phone", "Phone"),
        CrmField("MobilePhone", "Mobile"),
        CrmField("Description", "Description"),
        CrmField("Status", "Status", choices=(("Open", "Open"), ("Qualified", "Qualified"))),
        CrmField("LeadSource", "Lead Source", choices=(("Web", "Web"), ("Ad", "Ad"))),
        CrmField(SALESFORCE_ID, "Contatto Lead ID"),
    )
    """Leads as an organisation has them once an administrator has made our field."""

    def convert(self, record_id: str) -> str:
        """Convert a lead to a contact, as a person does, and return its id."""
        record = self.crm.records[record_id]
        contact = f"003{record.number:015d}"
        self.contacts[contact] = {"Id": contact, "LastName": record.values.get("LastName", "")}
        record.is_converted, record.became, record.changed_at = True, contact, self.crm.next_time()
        return contact

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        more: dict[str, Any] = {"fields": [wrong.subject]}
        code, text = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field"
        if wrong.kind == "exists":
            matches = [{"matchRecords": [{"record": {"Id": wrong.subject}}]}]
            more = {"duplicateResult": {"matchResults": matches, "allowSave": False}}
            code, text = "DUPLICATES_DETECTED", "Use one of these records?"
        elif wrong.kind == "field":
            code, text = "INVALID_FIELD", f"No such column '{wrong.subject}' on sobject of type Lead"
        elif wrong.kind == "required":
            code = "REQUIRED_FIELD_MISSING"
        return _salesforce_error(400, code, text, **more)

    def route(self, request: VendorRequest) -> VendorResponse:
        path = _SALESFORCE_PATH.sub("", request.path).rstrip("/")
        if path in ("/query", "/queryAll"):
            return self._query(request.query["q"], deleted=path == "/queryAll")
        kind, *rest = path.split("/")[2:]
        if kind == "Contact":
            values = self.contacts[rest[0]]
            if request.method == "GET":
                return VendorResponse(200, values)
            if request.method == "DELETE":
                del self.contacts[rest[0]]
            else:
                values |= request.json()
            return VendorResponse(204)
        if not rest:
            return VendorResponse(
                201, {"id": self.crm.make(request.json()).id, "success": True, "errors": []}
            )
        by_our_id, name = rest[0] == SALESFORCE_ID, rest[-1]
        matches = self.crm.find(SALESFORCE_ID, name, at_once=True) if by_our_id else [self.crm.records[name]]
        if not by_our_id or request.method == "GET" or (matches and matches[0].is_converted):
            return self._lead(request, matches[0])
        record, is_new = self.crm.upsert(SALESFORCE_ID, name, {**request.json(), SALESFORCE_ID: name})
        written = {"id": record.id, "success": True, "errors": [], "created": is_new}
        return VendorResponse(201 if is_new else 200, written)

    def _lead(self, request: VendorRequest, record: StoredRecord) -> VendorResponse:
        if record.is_deleted:
            return _salesforce_error(404, "ENTITY_IS_DELETED", "entity is deleted")
        if request.method == "GET":
            return VendorResponse(200, self._row(record))
        if request.method == "DELETE":
            self.crm.delete(record.id)
            return VendorResponse(204)
        if record.is_converted:
            return _salesforce_error(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        self.crm.change(record, request.json())
        return VendorResponse(204)

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        is_merged = record.is_deleted and bool(record.became)
        return {
            "attributes": {"type": "Lead"}, **dict.fromkeys(self.crm.fields), **record.values,
            "Id": record.id,
            "SystemModstamp": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S.000+0000"),
            "IsDeleted": record.is_deleted, "MasterRecordId": record.became if is_merged else None,
            "IsConverted": record.is_converted,
            "ConvertedContactId": record.became if record.is_converted else None,
            "Owner": {"Email": "sam@example.com", "Name": "Sam"}, "LastModifiedBy": {"Name": "Sam"},
            "ConvertedOpportunity": {"Amount": 1200.5} if record.is_converted else None,
        }  # fmt: skip

    def _query(self, soql: str, *, deleted: bool) -> VendorResponse:
        parts = _SOQL.match(soql)
        if parts is None:
            return _salesforce_error(400, "MALFORMED_QUERY", "unexpected token")
        rows: list[dict[str, Any]]
        if parts["source"] == "EntityParticle":
            rows = [
                {
                    "QualifiedApiName": field.name, "Label": field.label, "Length": field.limit,
                    "DataType": "picklist" if field.choices else "string",
                    "IsCreatable": True, "IsUpdatable": True,
                    "IsNillable": not field.is_required, "IsDefaultedOnCreate": False,
                }
                for field in self.crm.fields.values()
            ]  # fmt: skip
        elif parts["source"] == "PicklistValueInfo":
            rows = [
                {"EntityParticle": {"QualifiedApiName": field.name}, "Value": value, "Label": label}
                for field in self.crm.fields.values()
                for value, label in field.choices
            ]
        else:
            records = [record for record in self.crm.records.values() if deleted or not record.is_deleted]
            rows = [row for row in map(self._row, records) if _matches_soql(row, parts["where"] or "")]
            if "SystemModstamp" in (parts["order"] or ""):
                rows.sort(key=lambda row: (row["SystemModstamp"], row["Id"]))
        rows = rows[: int(parts["limit"] or 2000)]
        return VendorResponse(200, {"totalSize": len(rows), "done": True, "records": rows})


def _matches_soql(row: dict[str, Any], where: str) -> bool:
    """Return whether a row passes: tests with AND between them, and in brackets with OR."""
    for part in filter(None, where.split(" AND ")):
        passes = False
        for test in part.strip("()").split(" OR ") if part.startswith("(") else [part]:
            match = _SOQL_TEST.match(test)
            if match is None or match["name"] not in row:
                raise WrongValue("field", match["name"] if match else test)
            passes = passes or _compare(row[match["name"]], match["sign"], match["value"])
        if not passes:
            return False
    return True


def _compare(has: Any, sign: str, literal: str) -> bool:
    """Compare a value with a literal of SOQL or COQL."""
    if sign.lower() == "not in":
        return f"'{has}'" not in literal
    plain = "" if literal == "null" else re.sub(r"\\(.)", r"\1", literal.strip("'"))
    if sign == ">":
        return bool(has > plain)
    if sign == ">=":
        return datetime.fromisoformat(has) >= datetime.fromisoformat(plain)
    return (str(has or "").casefold() == plain.casefold()) is (sign == "=")


ZOHO_TOKEN = "zoho-token"  # noqa: S105 - of a CRM in memory
_ZOHO_LEADS: Final = "/crm/v6/Leads"
_COQL: Final = re.compile(r"from Leads where (?P<where>.+) order by (?P<order>\w+).* limit (?P<limit>\d+)$")
_COQL_TEST: Final = re.compile(
    r"(?P<name>\w+) (?P<sign>=|>=|not in|is not null) ?(?P<value>'(?:[^'\\]|\\.)*'|\([^)]*\))?"
)


def _zoho_error(code: str, **details: str) -> dict[str, Any]:
    return {"code": code, "details": details, "message": "invalid data", "status": "error"}


class ZohoFake(Vendor):
    """Zoho CRM in memory: errors are part of the record, and unknown fields are ignored."""

    credential = f"Zoho-oauthtoken {ZOHO_TOKEN}"
    expired = VendorResponse(401, _zoho_error("INVALID_TOKEN"))
    throttled = VendorResponse(429, _zoho_error("TOO_MANY_REQUESTS"))
    our_id, unique = ZOHO_ID, ("Email", ZOHO_ID)
    fields = (
        CrmField("Last_Name", "Last Name", is_required=True, limit=80),
        CrmField("First_Name", "First Name", limit=40),
        CrmField("Email", "Email", limit=100),
        CrmField("Phone", "Phone", limit=30),
        CrmField("Mobile", "Mobile", limit=30),
        CrmField("Description", "Description"),
        CrmField("Lead_Status", "Lead Status", choices=(("Qualified", "Qualified"),)),
        CrmField(ZOHO_ID, "Contatto Lead ID"),
    )
    """Leads as an organisation has them once an administrator has made our field."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        code = {"exists": "DUPLICATE_DATA", "required": "MANDATORY_NOT_FOUND"}.get(wrong.kind, "INVALID_DATA")
        details = {"api_name": wrong.subject}
        if wrong.kind == "exists":
            details = {"api_name": "Email", "id": wrong.subject}
        row = _zoho_error(code, **details)
        return VendorResponse(202 if request.method == "PUT" else 200, {"data": [row]})

    def route(self, request: VendorRequest) -> VendorResponse:
        if request.path == "/crm/v6/coql":
            return self._query(request.json()["select_query"])
        if request.path == "/crm/v6/settings/fields":
            fields: list[dict[str, Any]] = []
            for field in self.crm.fields.values():
                choices = [{"actual_value": value, "display_value": label} for value, label in field.choices]
                fields.append({
                    "api_name": field.name, "field_label": field.label,
                    "data_type": "picklist" if field.choices else "text",
                    "system_mandatory": field.is_required,
                    "read_only": False, "length": field.limit or 2000, "pick_list_values": choices,
                })  # fmt: skip
            return VendorResponse(200, {"fields": fields})
        values: dict[str, Any] = {}
        status = 200
        if request.method in ("POST", "PUT"):
            values = self.crm.known_values(request.json()["data"][0])
        record_id = request.query.get("ids") or request.path.removeprefix(f"{_ZOHO_LEADS}/")
        record = self.crm.records.get(record_id)
        if request.method == "POST":
            record, is_new = self.crm.upsert(ZOHO_ID, values[ZOHO_ID], values)
            status = 201 if is_new else 200
        elif record is None or record.is_deleted:
            if request.method == "GET":
                return VendorResponse(204)
            return VendorResponse(400, {"data": [_zoho_error("INVALID_DATA", id=record_id)]})
        elif request.method == "GET":
            return VendorResponse(200, {"data": [self._row(record)]})
        elif request.method == "DELETE":
            self.crm.delete(record_id)
        else:
            self.crm.change(record, values)
        details = {"id": record.id, "Modified_Time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S+00:00")}
        one = {"code": "SUCCESS", "details": details, "message": "done", "status": "success"}
        return VendorResponse(status, {"data": [one]})

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        return {
            **dict.fromkeys(self.crm.fields), **record.values, "id": record.id,
            "Modified_Time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S+00:00"),
            "Owner.email": "sam@example.com", "Modified_By.full_name": "Sam", "$converted": False,
        }  # fmt: skip

    def _query(self, coql: str) -> VendorResponse:
        parts = _COQL.search(coql)
        if parts is None:
            return VendorResponse(400, _zoho_error("SYNTAX_ERROR"))
        rows = [self._row(record) for record in self.crm.live()]
        tests, fits = [*_COQL_TEST.finditer(parts["where"])], any if " or " in parts["where"] else all
        matches = [
            row
            for row in rows
            if fits(_compare(row.get(test["name"]), test["sign"], test["value"] or "null") for test in tests)
        ]
        if parts["order"] == "Modified_Time":
            matches.sort(key=lambda row: (row["Modified_Time"], row["id"]))
        if not matches:
            return VendorResponse(204)
        most = int(parts["limit"])
        page = {"count": len(matches), "more_records": len(matches) > most}
        return VendorResponse(200, {"data": matches[:most], "info": page})


PIPEDRIVE_TOKEN = "pipedrive-token"  # noqa: S105 - of a CRM in memory
PIPEDRIVE_ID_FIELD: Final = "4f1c0b6a5d2e"
_PIPEDRIVE_PERSONS: Final = "/api/v2/persons"
_PIPEDRIVE_LISTS: Final = {"emails": "email", "phones": "phone"}
_PIPEDRIVE_SEARCH_FIELDS: Final = {"email": "email", "phone": "phone", "custom_fields": PIPEDRIVE_ID_FIELD}


def _pipedrive_error(status: int, text: str) -> VendorResponse:
    return VendorResponse(status, {"success": False, "error": text, "error_info": "", "data": None})


class PipedriveFake(Vendor):
    """Pipedrive in memory: it accepts a second person with the same e-mail address."""

    header, credential = "x-api-token", PIPEDRIVE_TOKEN
    expired = _pipedrive_error(401, "unauthorized access")
    throttled = _pipedrive_error(429, "rate limit exceeded")
    missing = _pipedrive_error(404, "not found")
    our_id = PIPEDRIVE_ID_FIELD
    fields = (
        CrmField("name", "Name", is_required=True),
        CrmField("email", "Email"),
        CrmField("phone", "Phone"),
        CrmField("b7d1", "Level", choices=(("1", "Hot"), ("2", "Cold"))),
        CrmField(PIPEDRIVE_ID_FIELD, "Contatto lead ID"),
    )
    """Persons as a company has them once it has made our field."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        text = "does not exist" if wrong.kind == "field" else "validation failed"
        return _pipedrive_error(400, f"{wrong.subject}: {text}")

    def route(self, request: VendorRequest) -> VendorResponse:
        if request.path == "/api/v2/deals":
            since = request.query.get("updated_since", "")
            recent = [deal for deal in self.deals if deal["update_time"] >= since]
            deals = sorted(recent, key=lambda deal: str(deal["update_time"]))
            page = {"data": deals, "additional_data": {"next_cursor": None}}
            return VendorResponse(200, {"success": True, **page})
        if request.path == "/v1/personFields":
            fields: list[dict[str, Any]] = []
            for field in self.crm.fields.values():
                kind = "enum" if field.choices else "varchar"
                options = [{"id": int(value), "label": label} for value, label in field.choices]
                fields.append({
                    "key": field.name, "name": field.label, "field_type": kind,
                    "mandatory_flag": field.is_required, "bulk_edit_allowed": True, "options": options,
                })  # fmt: skip
            return _pipedrive_data(fields)
        if not request.path.startswith("/v1/notes"):
            return self._persons(request)
        if request.method == "GET":
            person = int(request.query["person_id"])
            person_notes = [note for note in self.notes.values() if note["person_id"] == person]
            return VendorResponse(200, {"success": True, "data": person_notes or None})
        number = request.path.removeprefix("/v1/notes/")
        if request.method == "POST":
            number = str(len(self.notes) + 1)
            self.notes[number] = {"id": int(number)}
        self.notes[number] |= request.json()
        return _pipedrive_data(self.notes[number])

    def _persons(self, request: VendorRequest) -> VendorResponse:
        if request.path == f"{_PIPEDRIVE_PERSONS}/search":
            matches = self.crm.find(_PIPEDRIVE_SEARCH_FIELDS[request.query["fields"]], request.query["term"])
            items = [
                {"result_score": 1, "item": {"id": int(record.id), "type": "person"}} for record in matches
            ]
            return _pipedrive_data({"items": items})
        if request.method == "POST":
            return _pipedrive_data(self._row(self.crm.make(self._values(request.json()))), 201)
        if request.path == _PIPEDRIVE_PERSONS:
            rows = [self._row(record) for record in self.crm.live()]
            first, most = int(request.query.get("cursor") or 0), int(request.query["limit"])
            following = str(first + most) if len(rows) > first + most else None
            page = {"data": rows[first : first + most], "additional_data": {"next_cursor": following}}
            return VendorResponse(200, {"success": True, **page})
        name = request.path.removeprefix(f"{_PIPEDRIVE_PERSONS}/").removeprefix("/v1/persons/")
        record = self.crm.live_record(name.removesuffix("/merge"))
        if name.endswith("/merge"):
            self.crm.merge(record.id, str(request.json()["merge_with_id"]))
        elif request.method == "PATCH":
            self.crm.change(record, self._values(request.json()))
        elif request.method == "DELETE":
            self.crm.delete(record.id)
        return _pipedrive_data(self._row(record))

    def _values(self, body: dict[str, Any]) -> dict[str, Any]:
        values = {name: value for name, value in body.items() if not isinstance(value, list | dict)}
        for listed, name in _PIPEDRIVE_LISTS.items():
            if listed in body:
                values[name] = body[listed][0]["value"] if body[listed] else ""
        return {**values, **body.get("custom_fields", {})}

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        values = record.values
        return {
            "id": int(record.id), "name": values.get("name", ""), "is_deleted": record.is_deleted,
            "emails": [{"value": values.get("email", ""), "primary": True, "label": "work"}],
            "phones": [{"value": values.get("phone", ""), "primary": True, "label": "work"}],
            "custom_fields": {name: values.get(name) for name in (PIPEDRIVE_ID_FIELD, "b7d1")},
            "update_time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip


def _pipedrive_data(data: Any, status: int = 200) -> VendorResponse:
    return VendorResponse(status, {"success": True, "data": data})


GOOGLE_TOKEN = "google-token"  # noqa: S105 - of a CRM in memory
SPREADSHEET: Final = "1BxiMVs0XRA5nF"
SHEET: Final = "Leads"
_SHEET_RANGE: Final = re.compile(
    r"^'?(?P<sheet>[^'!]+)'?(?:!(?P<first>[A-Z]*)(?P<from>\d*)(?::(?P<last>[A-Z]*)(?P<to>\d*))?)?$"
)


def _google_error(status: int, code: str) -> VendorResponse:
    return VendorResponse(status, {"error": {"code": status, "message": code.lower(), "status": code}})


class GoogleSheetsFake(Vendor):
    """One sheet as rows of texts; ``crm`` knows its columns as fields and has no records."""

    credential = f"Bearer {GOOGLE_TOKEN}"
    has_merges, our_id, fields = False, "Lead ID", ()
    expired = _google_error(401, "UNAUTHENTICATED")
    throttled = _google_error(429, "RESOURCE_EXHAUSTED")

    def list_values(self) -> list[Mapping[str, str]]:
        head = self.rows[0] if self.rows else []
        self.crm.fields = {name: CrmField(name, name) for name in head}
        return [dict(zip(head, row, strict=False)) for row in self.rows[1:] if any(row)]

    def remove(self, record_id: str) -> None:
        self.rows.pop()

    def route(self, request: VendorRequest) -> VendorResponse:
        path, home = unquote(request.path), f"/v4/spreadsheets/{SPREADSHEET}"
        if path == home:
            grid = {"rowCount": 1_000, "columnCount": 26}
            sheet = {"sheetId": 0, "title": SHEET, "index": 0, "gridProperties": grid}
            about = {"spreadsheetId": SPREADSHEET, "properties": {"title": "Leads of ours"}}
            return VendorResponse(200, {**about, "sheets": [{"properties": sheet}]})
        cells, _, verb = path.removeprefix(f"{home}/values/").rpartition(":")
        if verb not in ("append", "clear"):
            cells, verb = path.removeprefix(f"{home}/values/"), request.method
        where = _SHEET_RANGE.match(cells)
        if where is None or where["sheet"] != SHEET or not path.startswith(home):
            return _google_error(400, "INVALID_ARGUMENT")
        first = int(where["from"] or 1)
        is_open = ":" in cells and not where["to"]
        last = len(self.rows) if is_open else int(where["to"] or where["from"] or len(self.rows) or 1)
        answer: dict[str, Any] = {"spreadsheetId": SPREADSHEET}
        if verb == "append":
            rows = request.json()["values"]
            self.rows += [["" if value is None else str(value) for value in row] for row in rows]
            updates = {"spreadsheetId": SPREADSHEET, "updatedRows": len(rows)}
            answer |= {"tableRange": cells, "updates": updates}
        elif verb == "clear":
            for place in range(first - 1, min(last, len(self.rows))):
                self.rows[place] = []
            answer["clearedRange"] = cells
        elif verb == "PUT":
            self.rows += [[] for _ in range(first - len(self.rows))]
            row, values = self.rows[first - 1], request.json()["values"][0]
            row += [""] * (len(values) - len(row))
            for place, value in enumerate(values):
                row[place] = row[place] if value is None else str(value)
            answer |= {"updatedRange": cells, "updatedRows": 1}
        else:
            rows, dimension = self.rows[first - 1 : last], request.query.get("majorDimension", "ROWS")
            if where["first"] == where["last"] == "A":
                rows = [row[:1] for row in rows]
            if dimension == "COLUMNS":
                column = [row[0] if row else "" for row in rows]
                while column and not column[-1]:
                    column.pop()
                rows = [column] if column else []
            answer = {"range": cells, "majorDimension": dimension, **({"values": rows} if any(rows) else {})}
        return VendorResponse(200, answer)
