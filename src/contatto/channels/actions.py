"""Connecting accounts and registering apps."""

import hmac
from dataclasses import dataclass

from contatto.channels import store
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.channels.registry import CONNECTORS
from contatto.channels.rules import MOST_ORIGINS, embed_origins
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.rows import row_of
from contatto.kit.vault import Vault


@dataclass(frozen=True, slots=True)
class NewAccount:
    """``external_id`` is the platform's id of the account (for TikTok the business's open id)."""

    platform: Platform
    external_id: str
    name: str
    handle: str
    registration_country: str


def load_channel(tx: Tx, business_id: str, account_id: str, field: str) -> ChannelAccount:
    """A channel account by our id of it, or by its platform's; ``field`` is how the caller calls it.

    Raises:
        Refused: NOT_FOUND.
    """
    found = store.find_account(tx, business_id, account_id)
    if found is not None:
        return found
    for account in store.list_accounts(tx, business_id):
        if account_id and account.external_id == account_id:
            return account
    raise Refused(errors.NOT_FOUND, "%(field)s: there is no such channel account.", field=field)


def connect_account(tx: Tx, business_id: str, new: NewAccount) -> ChannelAccount:
    """Add a channel account to a business.

    Raises:
        Refused: INVALID, when a value is missing or the account is connected already.
    """
    country = new.registration_country.strip().upper()
    if len(country) != 2 or not country.encode().isalpha():
        raise Refused(errors.INVALID, "registration_country: give two letters, such as SG.")
    if not new.name.strip():
        raise Refused(errors.INVALID, "name: say whose account it is.")
    account_id = new_id()
    account = ChannelAccount(
        account_id,
        business_id,
        new.platform,
        new.external_id or account_id,
        new.name.strip(),
        new.handle.lstrip("@"),
        country,
        tx.now,
    )
    row = row_of(account)
    if not store.save_account(tx, row):
        raise Refused(errors.INVALID, "external_id: this account is connected already.")
    return account


def set_access_token(tx: Tx, business_id: str, account_id: str, access_token: str) -> None:
    """Keep the token by which Contatto sends for an account, sealed; an empty one takes it away.

    Raises:
        Refused: NOT_FOUND; INVALID, when the platform needs none or the text cannot be a token.
    """
    account = store.find_account(tx, business_id, account_id)
    if account is None:
        raise Refused(errors.NOT_FOUND, "There is no such channel account.")
    if not CONNECTORS[account.platform].dialect.base_url:
        raise Refused(errors.INVALID, "access_token: the chat page needs none.")
    token = access_token.strip()
    if len(token) > 2_000 or not (token.isascii() and token.isprintable()) or " " in token:
        raise Refused(errors.INVALID, "access_token: paste the token as the platform shows it.")
    if token:
        store.save_token(tx, business_id, account_id, token)
    else:
        store.delete_token(tx, business_id, account_id)


def allow_embedding(tx: Tx, business_id: str, account_id: str, text: str) -> None:
    """Keep which sites may show the chat page of an account, one a line; an empty text allows none.

    Raises:
        Refused: NOT_FOUND; INVALID, with the line that is no site.
    """
    account = store.find_account(tx, business_id, account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "There is no such chat page.")
    origins = embed_origins(text)
    if isinstance(origins, str):
        raise Refused(
            errors.INVALID, "sites: %(site)s is no site such as https://www.example.com.", site=origins[:80]
        )
    if len(origins) > MOST_ORIGINS:
        raise Refused(
            errors.INVALID, "%(field)s: %(most)s are allowed at most.", field="sites", most=MOST_ORIGINS
        )
    store.save_embed_origins(tx, business_id, account_id, origins)


def webhook_verify_token(vault: Vault, app: ChannelApp) -> str:
    """What an app's platform must say when it asks whether a webhook's address is ours."""
    named = f"{app.business_id}\0{app.app_id}".encode()
    return hmac.new(vault.derivation_key("webhook-verify"), named, "sha256").hexdigest()[:40]


def register_app(tx: Tx, app: ChannelApp) -> None:
    """Keep a platform app, its secret sealed.

    Raises:
        Refused: INVALID, when the business has this app already.
    """
    if not app.app_id or not app.secret:
        raise Refused(errors.INVALID, "app_id and secret are both needed.")
    if not store.save_app(tx, app):
        raise Refused(errors.INVALID, "app_id: this app is registered already.")
