"""Connecting ad accounts elsewhere, giving them a new token, and ending their connection."""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from itsdangerous import BadSignature

from contatto.ad_platforms import store
from contatto.ad_platforms.model import PULL, AdPlatform, OutsideAccount, PullState
from contatto.ad_platforms.registry import APPS, CONNECTORS
from contatto.ad_platforms.rules.pulling import MOST_BACKFILL, PLAN, Walk, write_walk
from contatto.channels.model import ChannelApp
from contatto.channels.store import list_apps
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import IdempotencyKey, answer_once
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.model import NewRequest
from contatto.kit.outbound.store import delete_requests_of, queue_request
from contatto.kit.vault import Vault

_ID: Final = re.compile(r"(?:act_)?[0-9]{1,20}", re.ASCII)
_TOKEN_LIMIT: Final = 2_000
_URL_LIMIT: Final = 250


@dataclass(frozen=True, slots=True)
class NewOutsideAccount:
    """An account to connect; an empty ``base_url`` means the platform's own."""

    platform: AdPlatform
    external_id: str
    base_url: str = ""
    name: str = ""
    backfill_days: int = 90
    access_token: str = field(default="", repr=False)


def connect_outside_account(
    tx: Tx, business_id: str, new: NewOutsideAccount, allowed: Collection[str]
) -> str:
    """Connect an account, and read it from its first day on; give our id of it.

    An account that was connected before, or filled from files, goes on with all that it has.

    Raises:
        Refused: INVALID, naming the field.
    """
    token = _checked_token(new.access_token)
    account = open_outside_account(tx, business_id, new, allowed)
    store.save_outside_token(tx, account, token)
    _start(tx, account)
    return account.id


def open_outside_account(
    tx: Tx, business_id: str, new: NewOutsideAccount, allowed: Collection[str]
) -> OutsideAccount:
    """Return the account of these values, without a connection; create it if it does not exist yet.

    Raises:
        Refused: INVALID, naming the field.
    """
    external_id = new.external_id.strip().removeprefix("act_")
    if not _ID.fullmatch(external_id):
        raise Refused(errors.INVALID, "external_id: Enter the account ID, which is a number.")
    if not 0 <= new.backfill_days <= MOST_BACKFILL:
        raise Refused(errors.INVALID, "backfill_days: Enter at most %(most)s days.", most=MOST_BACKFILL)
    base_url = (new.base_url.strip() or CONNECTORS[new.platform].base_url).rstrip("/")
    try:
        url, _ = read_address(base_url[: _URL_LIMIT + 1], allowed)
        fits = len(base_url) <= _URL_LIMIT and url.path in ("", "/") and not url.query
    except ValueError:
        fits = False
    if not fits:
        says = N_("base_url: enter a public https address on port 443. The operator can allow others.")
        raise Refused(errors.INVALID, says)
    tx.hold_key("outside_accounts", business_id)
    existing_account = store.find_account_named(tx, business_id, new.platform, external_id)
    if existing_account is not None:
        return (
            store.record_account(tx, existing_account, base_url=base_url)
            if new.access_token
            else existing_account
        )
    if len(store.list_outside_accounts(tx, business_id)) >= store.MOST_ACCOUNTS:
        raise Refused(errors.INVALID, "%(field)s: The limit is %(most)s.", field="accounts",
                      most=store.MOST_ACCOUNTS)  # fmt: skip
    account = OutsideAccount(
        id=new_id(),
        business_id=business_id,
        platform=new.platform,
        external_id=external_id,
        name=new.name.strip()[:200],
        base_url=base_url,
        currency="",
        timezone="",
        state=PullState.UPLOADS,
        reason="",
        backfill_days=new.backfill_days,
        pulled_at=None,
        pulled_through="",
        deep_day="",
        left_out=0,
        created_at=tx.now,
    )
    store.save_outside_account(tx, account)
    return account


def replace_outside_token(tx: Tx, business_id: str, account_id: str, access_token: str) -> None:
    """Keep a new token of an account, and read at once all that is missing.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    account = load_outside_account(tx, business_id, account_id)
    store.save_outside_token(tx, account, _checked_token(access_token))
    _start(tx, account)


def load_outside_account(tx: Tx, business_id: str, account_id: str) -> OutsideAccount:
    """Load an ad account of another platform.

    Raises:
        Refused: NOT_FOUND.
    """
    account = store.find_outside_account(tx, business_id, account_id)
    if account is None:
        raise Refused(errors.NOT_FOUND, "Ad account not found.")
    return account


def pull_account_now(tx: Tx, business_id: str, account_id: str) -> None:
    """Read an account now, before its next time.

    Raises:
        Refused: NOT_FOUND; CONFLICT, where it has no connection.
    """
    account = load_outside_account(tx, business_id, account_id)
    if store.find_outside_token(tx, account) is None:
        raise Refused(errors.CONFLICT, "This account is not connected. Add an access token first.")
    _start(tx, account)


def disconnect_outside_account(tx: Tx, business_id: str, account_id: str) -> None:
    """End the connection and delete its token; mirrored ads and costs stay.

    Raises:
        Refused: NOT_FOUND.
    """
    account = load_outside_account(tx, business_id, account_id)
    store.delete_outside_token(tx, account)
    delete_requests_of(tx, business_id, PULL, [account.id])
    store.record_account(tx, account, state=PullState.UPLOADS, reason="")


def _start(tx: Tx, account: OutsideAccount) -> None:
    queue_pull(tx, account, Walk())


def queue_pull(tx: Tx, account: OutsideAccount, walk: Walk) -> None:
    """Queue the one request that reads an account, in place of an earlier one."""
    delete_requests_of(tx, account.business_id, PULL, [account.id])
    state = PullState.READY if account.pulled_at else PullState.NEW
    store.record_account(tx, account, state=state, reason="")
    destination = f"{account.platform}:{urlsplit(account.base_url).netloc}"
    progress = "" if walk == Walk() else write_walk(walk)
    new = NewRequest(account.business_id, PULL, account.id, destination, account.id, progress)
    queue_request(tx, new, PLAN)


def _checked_token(text: str) -> str:
    token = text.strip()
    if not 0 < len(token) <= _TOKEN_LIMIT or not (token.isascii() and token.isprintable()) or " " in token:
        raise Refused(errors.INVALID, "access_token: Paste the token as shown by the platform.")
    return token


RETURN_PATH: Final = "/settings/ad-platforms/return"
STATE_S: Final = 3_600
"""Seconds for which a state lets somebody come back."""
_CODE_LIMIT: Final = 2_000
_KEY: Final = "ad-platforms"


@dataclass(frozen=True, slots=True)
class OutsideVisitor:
    """A member who goes to a platform and comes back, by one session."""

    member_id: str
    session_hash: str = field(repr=False)


def list_own_apps(tx: Tx, account: OutsideAccount) -> list[ChannelApp]:
    """List the apps of a business that may let it into an account."""
    return [app for app in list_apps(tx, account.business_id) if app.platform in APPS[account.platform]]


def authorize_url(
    vault: Vault, account: OutsideAccount, app_id: str, visitor: OutsideVisitor, when: tuple[int, str]
) -> str:
    """Return the platform's consent page; ``when`` is the time in seconds, and our own public address."""
    now_s, base_url = when
    nonce = secrets.token_urlsafe(16)
    text = "\0".join((account.id, app_id, visitor.member_id, visitor.session_hash, str(now_s), nonce))
    state = vault.signer(_KEY).sign(text.encode().hex()).decode()
    return CONNECTORS[account.platform].authorize_url(app_id, state, f"{base_url}{RETURN_PATH}")


def read_state(vault: Vault, state: str, visitor: OutsideVisitor, now_s: int) -> tuple[str, str]:
    """Return the account and the app of a recent state that this session of a member was given.

    Raises:
        Refused: UNSIGNED, STALE.
    """
    try:
        parts = bytes.fromhex(vault.signer(_KEY).unsign(state.encode("utf-8", "replace")).decode()).decode()
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    account_id, app_id, member_id, session_hash, at_s, _nonce = parts.split("\0")
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
