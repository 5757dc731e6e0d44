"""Being let into an ad account by its owner: the state that goes with them, and the code that comes back."""

from typing import Final

from itsdangerous import BadSignature

from contatto.ad_platforms.actions.accounts import load_outside_account, queue_pull
from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.registry import APPS, CONNECTORS
from contatto.ad_platforms.rules.pulling import Walk
from contatto.channels.model import ChannelApp
from contatto.channels.store import list_apps
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.vault import Vault

RETURN_PATH: Final = "/settings/ad-platforms/return"
STATE_S: Final = 3_600
"""Seconds for which a state lets somebody come back."""
_CODE_LIMIT: Final = 2_000
_KEY: Final = "ad-platforms"


def list_own_apps(tx: Tx, account: OutsideAccount) -> list[ChannelApp]:
    """The apps of a business that may let it into an account."""
    return [app for app in list_apps(tx, account.business_id) if app.platform in APPS[account.platform]]


def authorize_url(
    vault: Vault, account: OutsideAccount, app_id: str, member_id: str, when: tuple[int, str]
) -> str:
    """Where a member lets us in; ``when`` is the time in seconds, and our own public address."""
    now_s, base_url = when
    said = "\0".join((account.id, app_id, member_id, str(now_s)))
    state = vault.signer(_KEY).sign(said.encode().hex()).decode()
    return CONNECTORS[account.platform].authorize_url(app_id, state, f"{base_url}{RETURN_PATH}")


def read_state(vault: Vault, state: str, member_id: str, now_s: int) -> tuple[str, str]:
    """The account and the app of a state that this member was sent away with, not long ago.

    Raises:
        Refused: UNSIGNED, STALE.
    """
    try:
        said = bytes.fromhex(vault.signer(_KEY).unsign(state.encode("utf-8", "replace")).decode()).decode()
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    account_id, app_id, sent, at_s = said.split("\0")
    if sent != member_id:
        raise Refused(errors.UNSIGNED)
    if not 0 <= now_s - int(at_s) <= STATE_S:
        raise Refused(errors.STALE)
    return account_id, app_id


def connect_by_code(tx: Tx, business_id: str, account_id: str, app_id: str, code: str, base_url: str) -> None:
    """Change a code into an access token in the background, and read the account with it.

    Raises:
        Refused: NOT_FOUND; INVALID, for a code that cannot be one, or an app of another platform.
    """
    account = load_outside_account(tx, business_id, account_id)
    plain = code.strip()
    if not 0 < len(plain) <= _CODE_LIMIT or not (plain.isascii() and plain.isprintable()):
        raise Refused(errors.INVALID, "code: paste the code as the platform shows it.")
    if app_id not in {app.app_id for app in list_own_apps(tx, account)}:
        raise Refused(errors.INVALID, "app_id: register the app under Channels first.")
    queue_pull(tx, account, Walk(code=plain, back=f"{base_url}{RETURN_PATH}", app_id=app_id))
