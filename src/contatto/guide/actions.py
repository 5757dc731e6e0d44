"""Set-up of an installation, first steps of a business, and documents of the help."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from itsdangerous import BadSignature

from contatto.accounts import actions as accounts
from contatto.accounts import store as accounts_store
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import BusinessId, Member, Role
from contatto.accounts.rules import checked_ad_account, normal_email
from contatto.ads.store import has_ad
from contatto.capture.store import list_capturing
from contatto.channels.store import list_accounts
from contatto.forms.store import list_versions
from contatto.guide.rules import SETUP_KEY, TOP, HelpPage, NewInstallation, Step
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads

FOLDERS: Final = ("", "tutorials", "how-to", "reference", "research", "decisions")
"""Shipped folders of documents; pictures are not shipped."""
_PICTURES: Final = {"screens.md"}
"""Documents that the help omits, as they mostly show pictures."""


@cache
def load_pages() -> Mapping[str, HelpPage]:
    """Load all documents from the wheel or the checkout, by folder and name."""
    package = Path(str(files("contatto")))
    shipped = package / "guide" / "documents"
    documents = shipped if shipped.is_dir() else package.parents[1] / "docs"
    pages: dict[str, HelpPage] = {}
    for folder in FOLDERS:
        for path in sorted((documents / folder).glob("*.md")):
            text = path.read_text(encoding="utf-8")
            if path.name in _PICTURES:
                continue
            place = f"{folder or TOP}/{path.stem}"
            first = text.partition("\n")[0]
            title = first.removeprefix("# ").strip() if first.startswith("# ") else path.stem
            pages[place] = HelpPage(place, title, text)
    return pages


def setup_path(tx: Tx) -> str | None:
    """Return the path of the set-up link; None once a business exists."""
    if accounts_store.list_businesses(tx):
        return None
    return f"/setup/{tx.vault.signer(SETUP_KEY).sign(SETUP_KEY).decode()}"


def check_setup_link(tx: Tx, token: str) -> None:
    """Refuse a forged link, and any link once a business exists. Raises LINK_OVER."""
    try:
        tx.vault.signer(SETUP_KEY).unsign(token)
    except BadSignature:
        raise Refused(errors.LINK_OVER) from None
    if accounts_store.list_businesses(tx):
        raise Refused(errors.LINK_OVER)


def check_installation(new: NewInstallation) -> None:
    """Validate the fields before anything is created. Raises INVALID, with all faults."""
    faults, name = Faults(), new.business.strip()
    if not 0 < len(name) <= 100:
        faults.note(Refused(errors.INVALID, "business: enter a name of at most 100 characters."))
    faults.read(lambda: normal_email(new.email), "")
    account = name[:100] or "-"
    faults.finish(lambda: checked_ad_account(account, new.country, new.currency, new.timezone, ()))


def set_up_installation(tx: Tx, token: str, new: NewInstallation, password_hash: str) -> Member:
    """Create the first business with its owner and an ad account, and return the owner; the link expires.

    Raises LINK_OVER; INVALID.
    """
    tx.hold_key("set-up")
    check_setup_link(tx, token)
    check_installation(new)
    name = new.business.strip()
    business = accounts.create_business(tx, name)
    owner = NewMember(new.email, new.display_name, Role.OWNER)
    member = accounts.add_member(tx, business.id, owner, password_hash)
    account = NewAdAccount(name, new.country, new.currency, new.timezone)
    accounts.add_ad_account(tx, business.id, account)
    return member


def list_done_steps(tx: Tx, business_id: BusinessId) -> set[Step]:
    """Return the first steps that a business has done."""
    channels, capturing = list_accounts(tx, business_id), list_capturing(tx, business_id)
    done = {
        Step.CHANNEL: bool(channels),
        Step.CAPTURE: any(channel.id in capturing for channel in channels),
        Step.FORM: bool(list_versions(tx, business_id)),
        Step.AD: has_ad(tx, business_id),
        Step.COLLEAGUE: len(accounts_store.list_members(tx, business_id)) > 1,
        Step.LEAD: bool(list_leads(tx, business_id, LeadFilter(), limit=1)),
    }
    return {step for step, is_done in done.items() if is_done}
