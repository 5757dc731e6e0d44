"""Being let into an ad account by its owner: the state that goes with them, and the code that comes back."""

import secrets
from dataclasses import dataclass, field
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
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.kit.vault import Vault

RETURN_PATH: Final = "/settings/ad-platforms/return"
STATE_S: Final = 3_600
"""Seconds for which a state lets somebody come back."""
_CODE_LIMIT: Final = 2_000
_KEY: Final = "ad-platforms"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A member who goes to a platform and comes back, by one session."""

    member_id: str
    session_hash: str = field(repr=False)


def list_own_apps(tx: Tx, account: OutsideAccount) -> list[ChannelApp]:
    """The apps of a business that may let it into an account."""
    return [app for app in list_apps(tx, account.business_id) if app.platform in APPS[account.platform]]


def authorize_url(
    vault: Vault, account: OutsideAccount, app_id: str, visitor: Visitor, when: tuple[int, str]
) -> str:
    """Where a member lets us in; ``when`` is the time in seconds, and our own public address."""
    now_s, base_url = when
    nonce = secrets.token_urlsafe(16)
    said = "\0".join((account.id, app_id, visitor.member_id, visitor.session_hash, str(now_s), nonce))
    state = vault.signer(_KEY).sign(said.encode().hex()).decode()
    return CONNECTORS[account.platform].authorize_url(app_id, state, f"{base_url}{RETURN_PATH}")


def read_state(vault: Vault, state: str, visitor: Visitor, now_s: int) -> tuple[str, str]:
    """Return the account and the app of a recent state that this session of a member was given.

    Raises:
        Refused: UNSIGNED, STALE.
    """
    try:
        said = bytes.fromhex(vault.signer(_KEY).unsign(state.encode("utf-8", "replace")).decode()).decode()
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    account_id, app_id, member_id, session_hash, at_s, _nonce = said.split("\0")
    if (member_id, session_hash) != (visitor.member_id, visitor.session_hash):
        raise Refused(errors.UNSIGNED)
    if not 0 <= now_s - int(at_s) <= STATE_S:
        raise Refused(errors.STALE)
    return account_id, app_id


def connect_by_state(
    tx: Tx, business_id: str, consent: tuple[str, str, str], code: str, base_url: str
) -> None:
    """Connect an account by the code that came back with a state; each state is good once.

    ``consent`` is the state with the account and the app that it names. The same code again changes nothing.

    Raises:
        Refused: REPEATED, for another code with the same state; as for a code that is given by hand.
    """
    state, account_id, app_id = consent

    def connect() -> bool:
        connect_by_code(tx, business_id, account_id, app_id, code, base_url)
        return True

    answer_once(tx, IdempotencyKey(business_id, RETURN_PATH, state), code, bool, connect)


def connect_by_code(tx: Tx, business_id: str, account_id: str, app_id: str, code: str, base_url: str) -> None:
    """Change a code into an access token in the background, and read the account with it.

    Raises:
        Refused: NOT_FOUND; INVALID, for a code that cannot be one, or an app of another platform.
    """
    account = load_outside_account(tx, business_id, account_id)
    plain = code.strip()
    if not 0 < len(plain) <= _CODE_LIMIT or not (plain.isascii() and plain.isprintable()):
        raise Refused(errors.INVALID, "code: Paste the code as shown by the platform.")
    if app_id not in {app.app_id for app in list_own_apps(tx, account)}:
        raise Refused(errors.INVALID, "app_id: Register the app under Channels first.")
    queue_pull(tx, account, Walk(code=plain, back=f"{base_url}{RETURN_PATH}", app_id=app_id))
