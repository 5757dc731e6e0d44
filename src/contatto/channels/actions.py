"""Connections of channel accounts, their checks, and platform apps."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import phonenumbers

from contatto.channels import model, store
from contatto.channels.rules import CHECK_EVERY_S, CHECK_PLAN, MOST_ORIGINS, embed_origins
from contatto.channels.store import CONNECTORS
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.queue import delete_requests_of, queue_request
from contatto.kit.outbox import emit
from contatto.kit.vault import Vault

_EXTERNAL_ID: Final = re.compile(r"[\w.:@+-]{1,128}", re.ASCII)
"""Characters of an id on any platform; spaces come from a wrong paste."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Channel account to connect; ``external_id`` is the platform's id (for TikTok the open id)."""

    platform: model.Platform
    external_id: str
    name: str
    handle: str
    registration_country: str


def connect_account(tx: Tx, business_id: str, new: NewAccount) -> model.ChannelAccount:
    """Add a channel account. Raises INVALID, when a value is missing or it is connected already."""
    account_id = new_id()
    ids = (account_id, business_id, new.platform, new.external_id or account_id)
    account = model.ChannelAccount(*ids, **_checked(new), created_at=tx.now)
    if not tx.insert_ignore(store.channel_accounts, row_of(account)):
        raise Refused(errors.INVALID, "external_id: this account is connected already.")
    return account


def _checked(new: NewAccount) -> dict[str, Any]:
    country = new.registration_country.strip().upper()
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise Refused(errors.INVALID, "registration_country: enter a two-letter code, such as SG.")
    if not new.name.strip():
        raise Refused(errors.INVALID, "name: enter a name for the account.")
    handle = new.handle.strip().lstrip("@")
    return {"name": new.name.strip(), "handle": handle, "registration_country": country}


def _load_account(tx: Tx, business_id: str, account_id: str) -> model.ChannelAccount:
    return check_found(store.find_account(tx, business_id, account_id), "Channel account not found.")


def correct_account(tx: Tx, business_id: str, account_id: str, new: NewAccount) -> model.ChannelAccount:
    """Correct an account, except its platform and our own chat's id. Raises NOT_FOUND; INVALID."""
    before = _load_account(tx, business_id, account_id)
    changed = replace(before, **_checked(new))
    if needs_token(before):
        changed = replace(changed, external_id=check_external_id(new.external_id))
        duplicate = store.find_account_by_external(tx, business_id, before.platform, changed.external_id)
        if duplicate is not None and duplicate.id != account_id:
            raise Refused(errors.INVALID, "external_id: this account is connected already.")
    values = row_of(changed, without={"id", "business_id", "platform", "created_at"})
    tx.change(store.channel_accounts, business_id, account_id, **values)
    return changed


def needs_token(account: model.ChannelAccount) -> bool:
    """Report whether replies go through the platform; the web chat reads them from the database."""
    return bool(CONNECTORS[account.platform].dialect.base_url)


def check_external_id(text: str) -> str:
    """Return the platform's id of an account. Raises INVALID for none, or for signs of a wrong paste."""
    if not text.strip():
        raise Refused(errors.INVALID, "external_id: enter the account's id on its platform.")
    if not _EXTERNAL_ID.fullmatch(text.strip()):
        raise Refused(
            errors.INVALID, "external_id: an id has letters, digits, - and _ only. Copy it from the platform."
        )
    return text.strip()


def check_access_token(text: str) -> str:
    """Return an access token without outer spaces. Raises INVALID for a text that cannot be one."""
    token = text.strip()
    if not 0 < len(token) <= 2_000 or not (token.isascii() and token.isprintable()) or " " in token:
        raise Refused(errors.INVALID, "access_token: Paste the token as shown by the platform.")
    return token


def set_access_token(tx: Tx, business_id: str, account_id: str, access_token: str) -> None:
    """Save an access token, sealed, in place of the last one; its check is untried.

    Raises NOT_FOUND; INVALID, so an empty field changes nothing.
    """
    account = _load_account(tx, business_id, account_id)
    if not needs_token(account):
        raise Refused(errors.INVALID, "access_token: the web chat needs no token.")
    token = check_access_token(access_token)
    row = {
        "channel_account_id": account_id,
        "business_id": business_id,
        "access_token": tx.vault.seal(token, business_id, "channel_tokens.access_token", account_id),
        "changed_at": tx.now,
        "check_state": model.CheckState.UNTRIED,
        "check_reason": "",
        "checked_at": None,
    }
    tx.save(store.channel_tokens, row)


def ask_platform(tx: Tx, business_id: str, account_id: str) -> None:
    """Queue a check of an account's token and name, which then repeats daily. Raises NOT_FOUND; INVALID."""
    account = _load_account(tx, business_id, account_id)
    if account_id not in store.list_token_checks(tx, business_id):
        raise Refused(errors.INVALID, "access_token: no token is saved yet. Save one first.")
    delete_requests_of(tx, business_id, model.CHECK, [account_id])
    store.record_token_check(tx, business_id, account_id, model.CheckState.ASKED)
    queue_request(
        tx, outbound.NewRequest(business_id, model.CHECK, account_id, account.platform.value), CHECK_PLAN
    )


def begin_check(
    tx: Tx, request: outbound.OutboundRequest, platform_urls: Mapping[model.Platform, str]
) -> outbound.Step:
    """Return the request of a check; `Done` for a disconnected account.

    ``platform_urls`` replace API addresses.
    """
    account = store.find_account(tx, request.business_id, request.subject)
    token = store.find_token(tx, request.business_id, request.subject)
    if account is None or token is None:
        return outbound.Done()
    connector = CONNECTORS[account.platform]
    base_url = platform_urls.get(account.platform, connector.dialect.base_url).rstrip("/")
    return outbound.Ask(connector.ask_account(model.AccountAccess(base_url, account.external_id, token)))


def read_check_answer(
    tx: Tx, request: outbound.OutboundRequest, answer: outbound.HttpAnswer
) -> outbound.Step:
    """Record the platform's name of the account; check again tomorrow."""
    account = store.find_account(tx, request.business_id, request.subject)
    if account is None:
        return outbound.Done()
    account_seen = CONNECTORS[account.platform].read_account(answer)
    if isinstance(account_seen, outbound.Failed | outbound.NotNow):
        return account_seen
    store.record_token_check(
        tx, account.business_id, account.id, model.CheckState.WORKS, account=account_seen
    )
    return outbound.Later("", CHECK_EVERY_S)


def settle_check(
    tx: Tx, request: outbound.OutboundRequest, outcome: outbound.Outcome, state: outbound.RequestState
) -> None:
    """Record a failure, notify open pages, and alert those who can replace a refused token."""
    account_key = request.business_id, request.subject
    if isinstance(outcome, outbound.Failed | outbound.NotNow):
        is_over = isinstance(outcome, outbound.Failed) or state is outbound.RequestState.DEAD
        shown = model.CheckState.REFUSED if is_over else model.CheckState.AWAY
        store.record_token_check(tx, *account_key, shown, outcome.reason)
        if isinstance(outcome, outbound.Failed) and outcome.reason == model.LOST_ACCESS:
            emit(tx, request.business_id, model.ChannelLost(*account_key))
    emit(tx, request.business_id, model.ChannelChecked(*account_key))


def disconnect_account(tx: Tx, business_id: str, account_id: str) -> None:
    """Delete the token of an account; its chats and leads stay, and messages still arrive."""
    _load_account(tx, business_id, account_id)
    tx.delete(store.channel_tokens, business_id, channel_account_id=account_id)
    delete_requests_of(tx, business_id, model.CHECK, [account_id])


def allow_embedding(tx: Tx, business_id: str, account_id: str, text: str) -> None:
    """Save the sites that may show a chat page, one a line. Raises NOT_FOUND; INVALID."""
    account = store.find_account(tx, business_id, account_id)
    if account is None or account.platform is not model.Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat page not found.")
    origins = embed_origins(text)
    if isinstance(origins, str):  # the first invalid line
        raise Refused(
            errors.INVALID,
            "sites: %(site)s is not a site address. Use the form https://www.example.com.",
            site=origins[:80],
        )
    if len(origins) > MOST_ORIGINS:
        raise Refused(errors.INVALID, "%(field)s: The limit is %(most)s.", field="sites", most=MOST_ORIGINS)
    embed = {"channel_account_id": account_id, "business_id": business_id}
    tx.save(store.chat_embeds, embed | {"origins": origins, "changed_at": tx.now})


def webhook_verify_token(vault: Vault, app: model.ChannelApp) -> str:
    named = f"{app.business_id}\0{app.app_id}".encode()
    return hmac.new(vault.derivation_key("webhook-verify"), named, "sha256").hexdigest()[:40]


def register_app(tx: Tx, app: model.ChannelApp) -> None:
    """Save a platform app, its secret sealed. Raises INVALID, when the business has this app already."""
    if not app.app_id or not app.secret:
        raise Refused(errors.INVALID, "Enter both app_id and secret.")
    sealed_secret = tx.vault.seal(app.secret, app.business_id, "channel_apps.secret", app.app_id)
    row = row_of(app) | {"secret": sealed_secret, "created_at": tx.now}
    if not tx.insert_ignore(store.channel_apps, row):
        raise Refused(errors.INVALID, "app_id: this app is registered already.")
