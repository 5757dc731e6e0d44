"""Base of connectors with JSON over HTTP and OAuth.

No CRM guarantees the shape of its answers. A value of another shape is read as empty, never as an error.

Source: RFC 6749 (4.1, 5, 6), RFC 7636 (PKCE, ``S256``); for more error codes: developers.hubspot.com (OAuth
tokens), zoho.com/crm/developer/docs/api (OAuth, multi DC), help.salesforce.com (OAuth authorization errors).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from contatto.crm import model as crm
from contatto.integrations.model import Denied
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS

UNREADABLE_ANSWER: Final = "unreadable"
"""Reason of an answer that the CRM does not document, such as the HTML page of a proxy."""


def json_request(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> HttpRequest:
    all_headers = {"Accept": "application/json", "User-Agent": "Contatto", **headers}
    if body is None:
        return HttpRequest(method, url, all_headers, b"")
    all_headers["Content-Type"] = "application/json"
    return HttpRequest(method, url, all_headers, msgspec.json.encode(body))


def path_id(record_id: str) -> str:
    """Quote the id of a record as one segment of a path.

    CRMs and other programs choose these ids. An id must not send our token to another path.
    """
    return quote(record_id, safe="").replace(".", "%2E")


def record_number(record_id: str) -> int:
    """Return the id of a record as a number; 0, which no record has, for another text."""
    return int(record_id) if record_id.isascii() and record_id.isdigit() and len(record_id) < 16 else 0


def read_json(answer: HttpAnswer) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except JSON_ERRORS:
        return None


ACCESS: Final = "access_token"
REFRESH: Final = "refresh_token"
SERVER: Final = "accounts_server"
"""The setting with the vendor's server that issues tokens to this customer."""
_FINAL: Final = re.compile(
    r"(?:bad|expired|inactive|invalid|mismatched|missing)_\w{1,50}"
    r"|access_denied|redirect_uri_mismatch|unauthorized_client|unsupported_grant_type"
)
"""Final errors: a person has to grant access again, or to correct the app."""


def token_request(link: crm.CrmLink, oauth: crm.OAuth, renew: crm.RenewSecrets) -> HttpRequest | Denied:
    """Request the first tokens with a code, or a new access token with the refresh token."""
    if renew.code:
        form = {"grant_type": "authorization_code", "code": renew.code, "redirect_uri": renew.redirect_uri}
        if oauth.is_pkce:
            form["code_verifier"] = renew.verifier
    elif link.secrets.get(REFRESH):
        form = {"grant_type": REFRESH, REFRESH: link.secrets[REFRESH]}
    else:
        return Denied("not_connected")
    form["client_id"] = link.settings.get("client_id", "")
    form["client_secret"] = link.secrets.get("client_secret", "")
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "Contatto",
    }
    server = link.settings.get(SERVER, "")  # the vendor named it for this customer
    url = server + urlsplit(oauth.token_url).path if server in oauth.servers else oauth.token_url
    return HttpRequest("POST", url, headers, urlencode(form).encode())


def read_tokens(answer: HttpAnswer, address_field: str = "") -> crm.SecretsRenewed | Denied | NotNow:
    """Read the tokens of an answer; ``address_field`` has the vendor's host of this customer.

    Without a new refresh token the current one stays valid.
    """
    body: Any = read_json(answer)
    fields = body if isinstance(body, dict) else {}
    access = fields.get(ACCESS)
    if 200 <= answer.status < 300 and isinstance(access, str) and access:
        texts = {name: as_text(fields.get(name)) for name in (ACCESS, REFRESH)}
        secrets = {name: text for name, text in texts.items() if text}
        address = fields.get(address_field) if address_field else ""
        return crm.SecretsRenewed(secrets, address.rstrip("/") if isinstance(address, str) else "")
    # Most vendors call it ``error``, one of them ``status``.
    codes = [as_text(fields.get(name)).strip().lower() for name in ("error", "status")]
    error = next(filter(None, codes), "")
    if answer.status < 500 and answer.status not in crm.BUSY and _FINAL.fullmatch(error):
        return Denied(error)
    if answer.status in (401, 403):
        return Denied(str(answer.status))
    reason = str(answer.status) if answer.status >= 300 else UNREADABLE_ANSWER
    return NotNow(reason, retry_after_s(answer))


def bearer(link: crm.CrmLink) -> dict[str, str]:
    """Return the header with the access token; none without a token. Source: RFC 6750, 2.1."""
    token = link.secrets.get(ACCESS, "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def send(link: crm.CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    """Request a path of the CRM with the access token."""
    return json_request(method, link.address + path, bearer(link), body)


type Readers = Mapping[type, Callable[[crm.CrmLink, Any, Any, Any], crm.Reply]]

UNCLEAR: Final = NotNow(UNREADABLE_ANSWER)
_NO_DIGIT: Final = re.compile(r"[^0-9]")


class UnreadableReply(ValueError):
    """An answer of another shape than the CRM documents."""


class JsonApi:
    """A connector with a function of its first requests, and a table of readers of answers.

    Attributes:
        encode: returns the first request of an operation.
        readers: by operation, the reader of a good answer. It gets the link, the operation, the JSON and the
            memory of the last ``FollowUp`` (empty for the first answer). The JSON is ``{}`` without a body,
            and None for other bytes.
        address_field: the field of the token answer with the host of this customer.
        missing_status: the status of an answer about a missing record, or 0.
        access: names of secrets, any of which gives access, such as a token or session.
    """

    traits: ClassVar[crm.ConnectorTraits]
    encode: ClassVar[Callable[..., HttpRequest | crm.Reply]]
    readers: ClassVar[Readers]
    address_field: ClassVar[str] = ""
    missing_status: ClassVar[int] = 404
    access: ClassVar[tuple[str, ...]] = (ACCESS,)

    def ask(self, link: crm.CrmLink, operation: crm.Operation) -> HttpRequest | crm.Reply:
        if isinstance(operation, crm.RenewSecrets) and crm.RenewSecrets not in self.readers:
            oauth = self.traits.oauth
            return token_request(link, oauth, operation) if oauth else Denied("not_connected")
        if type(operation) not in self.readers:
            return crm.Unsupported()
        is_open = any(link.secrets.get(name) for name in self.access)
        is_ready = is_open or isinstance(operation, crm.RenewSecrets)
        return self.encode(link, operation) if is_ready else crm.Expired()

    def read(self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, memory: Any) -> crm.Reply:
        if isinstance(operation, crm.RenewSecrets) and crm.RenewSecrets not in self.readers:
            return read_tokens(answer, self.address_field)
        if type(operation) not in self.readers:
            return crm.Unsupported()
        body = read_json(answer) if answer.body.strip() else {}
        error = self.read_error(link, operation, answer, body, memory) or crm.plain_reply(answer)
        try:
            return error or self.readers[type(operation)](link, operation, body, memory)
        except UnreadableReply:
            return UNCLEAR

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        """Return the failure that an answer states more precisely than its status; None for none."""
        return crm.NoRecord() if answer.status == self.missing_status else None

    def record_url(self, link: crm.CrmLink, record_id: str) -> str:
        """Fill the record page of the traits; empty for a link without one of its settings."""
        settings = {name: quote(text, safe="") for name, text in link.settings.items() if text}
        values = {**settings, "address": link.address, "record_id": quote(record_id, safe="")}
        try:
            return self.traits.record_page.format_map(values)
        except KeyError:
            return ""

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        """Compare texts, and phone numbers by their digits, as most CRMs format them their own way."""
        if written.strip().casefold() == current.strip().casefold():
            return True
        digits = _NO_DIGIT.sub("", written)
        return len(digits) > 6 and digits == _NO_DIGIT.sub("", current) and "@" not in written


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, without its other items."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def rows_of(body: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of a list in an answer.

    Raises:
        UnreadableReply: the answer has no list of this name.
    """
    rows = as_dict(body).get(name)
    if not isinstance(rows, list):
        raise UnreadableReply
    return as_dicts(rows)


def records_reply(records: Iterable[crm.CrmRecord]) -> crm.Reply:
    """Reply with the records that have an id, or with ``NoRecord``."""
    named_records = tuple(record for record in records if record.id)
    return crm.FoundRecords(named_records) if named_records else crm.NoRecord()


def record_reply(record: crm.CrmRecord) -> crm.Reply:
    """Reply with a record that was read by its id."""
    return crm.FoundRecords((record,)) if record.id else UNCLEAR


def as_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Return values with their labels, as many CRMs list choices."""
    pairs = value if isinstance(value, list) else []
    return tuple(
        (as_text(pair[0]), as_text(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2
    )


def read_choices(options: Any, value: str, label: str) -> tuple[tuple[str, str], ...]:
    """Return the choices of a list of objects, by the keys of their values and labels."""
    return tuple((as_text(option.get(value)), as_text(option.get(label))) for option in as_dicts(options))


def read_field(
    row: dict[str, Any], name: str, label: str, *, limit: Any = None, **traits: Any
) -> crm.CrmField:
    """Return a field; ``name`` and ``label`` are keys. Without a label, the name is the label."""
    title = as_text(row.get(label)) or as_text(row.get(name))
    most = limit if isinstance(limit, int) else 0
    return crm.CrmField(as_text(row.get(name)), title, limit=most, **traits)


def app_settings(
    id_help: str, secret_help: str, *, is_required: bool = True
) -> tuple[crm.ConnectorSetting, ...]:
    """Return the settings of an OAuth app; both help texts are marked for translation."""
    return (
        crm.ConnectorSetting("client_id", N_("Client ID"), is_required=is_required, help=id_help),
        crm.ConnectorSetting(
            crm.APP_SECRET, N_("Client secret"), is_secret=True, is_required=is_required, help=secret_help
        ),
    )


def read_record(row: dict[str, Any], record_id: str, our_id: str) -> crm.CrmRecord:
    """Return a record; ``record_id`` and ``our_id`` are the keys of both ids."""
    values = {name: as_text(value) for name, value in row.items()}
    return crm.CrmRecord(values.get(record_id, ""), values.get(our_id, ""), values)


def list_reply(records: Iterable[crm.CrmRecord], page: int) -> crm.RecordsListed:
    """Reply with the ids of the records that carry ours; a full page has one after it."""
    rows = list(records)
    ids = tuple((record.id, record.external_id) for record in rows if record.external_id)
    return crm.RecordsListed(ids, rows[-1].id if len(rows) == page else "")


def changes_reply(
    after: crm.Cursor, changes: Iterable[crm.RecordChange], *, is_more: bool
) -> crm.ChangesListed:
    """Reply with changes and the cursor after them; at first their own cursors have only a time.

    The cursor keeps the ids of all changes at its time, which the next page leaves out.
    """
    cursor, listed = after, []
    for change in changes:
        cursor = advance(cursor, change.cursor.at, change.record_id)
        listed.append(replace(change, cursor=cursor))
    return crm.ChangesListed(tuple(listed), cursor, is_more=is_more)


def as_text(value: Any) -> str:
    """Return a text, number or bool as a text; other values are empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def advance(cursor: crm.Cursor, at: str, record_id: str) -> crm.Cursor:
    """Move a cursor past a change; it keeps the ids of all changes at its time, not of earlier ones."""
    ids = (*filter(None, cursor.id.split(",")), record_id) if at == cursor.at else (record_id,)
    return crm.Cursor(at, ",".join(ids))
