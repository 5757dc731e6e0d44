"""The table of browsers that are told while no page is open; where each is reached is sealed."""

from sqlalchemy import Column, Index, PrimaryKeyConstraint, String, Table, exists, select

from contatto.accounts.store import members, sessions
from contatto.alerts.connectors.web_push import Browser
from contatto.alerts.model import PushBrowser
from contatto.kit.base64url import from_base64url, to_base64url
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, row_of, sealed, tenant
from contatto.kit.vault import row_key

push_browsers = Table(
    "push_browsers",
    metadata,
    Column("id", String(36), nullable=False),
    Column("member_id", String(36), nullable=False),
    tenant(),
    Column("user_id", String(36), nullable=False),
    sealed("endpoint"),
    sealed("public_key"),
    sealed("secret"),
    Column("name", String(80), nullable=False),
    instant("created_at"),
    PrimaryKeyConstraint("id", "member_id"),
    Index("ix_push_browsers_member", "business_id", "member_id"),
)


def save_browser(tx: Tx, of: PushBrowser, browser: Browser) -> None:
    """Keep where a browser is reached; the same one again is kept once."""
    texts = {
        "endpoint": browser.endpoint,
        "public_key": to_base64url(browser.public_key),
        "secret": to_base64url(browser.secret),
    }
    named = row_key(of.id, of.member_id)
    new = {
        name: tx.vault.seal(text, of.business_id, f"push_browsers.{name}", named)
        for name, text in texts.items()
    }
    insert = tx.upsert(push_browsers).values(row_of(of) | new)
    tx.execute(insert.on_conflict_do_update(index_elements=["id", "member_id"], set_=new))


def delete_browser_of_others(tx: Tx, browser_id: str, user_id: str) -> None:
    """Whoever used a browser before is told there no more, in whatever business."""
    others = push_browsers.c.id == browser_id, push_browsers.c.user_id != user_id
    tx.execute(push_browsers.delete().where(*others))


def has_session(tx: Tx, user_id: str) -> bool:
    """Whether a person is signed in anywhere, in whichever of their businesses."""
    own = select(members.c.id).where(members.c.user_id == user_id, members.c.deactivated_at.is_(None))
    live = exists().where(sessions.c.member_id.in_(own), sessions.c.expires_at > tx.now)
    return bool(tx.scalar(select(live)))


def list_browsers(tx: Tx, business_id: str, member_id: str) -> list[PushBrowser]:
    mine = push_browsers.c.business_id == business_id, push_browsers.c.member_id == member_id
    return tx.list(PushBrowser, select(push_browsers).where(*mine).order_by(push_browsers.c.created_at))


def find_browser(tx: Tx, business_id: str, member_id: str, browser_id: str) -> Browser | None:
    """Where a member's browser is reached, opened."""
    of = push_browsers.c
    mine = of.business_id == business_id, of.member_id == member_id, of.id == browser_id
    columns = of.endpoint, of.public_key, of.secret
    row = tx.execute(select(*columns).where(*mine)).first()
    if row is None:
        return None
    named = row_key(browser_id, member_id)
    endpoint, public_key, secret = (
        tx.vault.open(value, business_id, str(column), named)
        for column, value in zip(columns, row, strict=True)
    )
    return Browser(endpoint, from_base64url(public_key), from_base64url(secret))


def delete_browser(tx: Tx, business_id: str, member_id: str, browser_id: str) -> bool:
    """Tell a browser no more; False when there is none of that id."""
    of = push_browsers.c
    mine = of.business_id == business_id, of.member_id == member_id, of.id == browser_id
    return tx.execute(push_browsers.delete().where(*mine)).rowcount == 1
