"""Connecting accounts and registering apps."""

from dataclasses import dataclass

from contatto.channels import store
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id


@dataclass(frozen=True, slots=True)
class NewAccount:
    """``external_id`` is the platform's id of the account (for TikTok the business's open id)."""

    platform: Platform
    external_id: str
    name: str
    handle: str
    registration_country: str


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
    row = {name: getattr(account, name) for name in ChannelAccount.__dataclass_fields__}
    if not store.save_account(tx, row):
        raise Refused(errors.INVALID, "external_id: this account is connected already.")
    return account


def register_app(tx: Tx, app: ChannelApp) -> None:
    """Keep a platform app, its secret sealed.

    Raises:
        Refused: INVALID, when the app id is taken.
    """
    if not app.app_id or not app.secret:
        raise Refused(errors.INVALID, "app_id and secret are both needed.")
    if not store.save_app(tx, app):
        raise Refused(errors.INVALID, "app_id: this app is registered already.")
