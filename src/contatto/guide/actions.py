"""Setting an empty installation up, and what of the first steps is done."""

from itsdangerous import BadSignature

from contatto.accounts import actions as accounts
from contatto.accounts import store as known
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Business, BusinessId, Member, Role
from contatto.accounts.rules import checked_ad_account, normal_email
from contatto.ads.store.nodes import has_ad
from contatto.capture.store import list_capturing
from contatto.channels.store import list_accounts
from contatto.forms.store.records import list_versions
from contatto.guide.model import NewInstallation, Step
from contatto.guide.rules import SETUP_KEY
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import Faults
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import list_leads


def setup_path(tx: Tx) -> str | None:
    """The path of the link that sets this installation up; None once there is a business."""
    if known.list_businesses(tx):
        return None
    return f"/setup/{tx.vault.signer(SETUP_KEY).sign(SETUP_KEY).decode()}"


def check_setup_link(tx: Tx, token: str) -> None:
    """Refuse a link that is not ours, and any once there is a business.

    Raises:
        Refused: LINK_OVER.
    """
    try:
        tx.vault.signer(SETUP_KEY).unsign(token)
    except BadSignature:
        raise Refused(errors.LINK_OVER) from None
    if known.list_businesses(tx):
        raise Refused(errors.LINK_OVER)


def check_installation(new: NewInstallation) -> None:
    """Check what can be checked before anything is made.

    Raises:
        Refused: INVALID, with all that is wrong.
    """
    faults, name = Faults(), new.business.strip()
    if not 0 < len(name) <= 100:
        faults.note(Refused(errors.INVALID, "business: enter a name of at most 100 characters."))
    faults.read(lambda: normal_email(new.email), "")
    account = name[:100] or "-"
    faults.finish(lambda: checked_ad_account(account, new.country, new.currency, new.timezone, ()))


def set_up_installation(tx: Tx, token: str, new: NewInstallation) -> tuple[Business, Member]:
    """Make the first business with its owner and an ad account; the link is used up.

    Raises:
        Refused: LINK_OVER; INVALID.
    """
    tx.hold_key("set-up")
    check_setup_link(tx, token)
    check_installation(new)
    name = new.business.strip()
    business = accounts.create_business(tx, name)
    owner = NewMember(new.email, new.display_name, Role.OWNER, "")
    member = accounts.add_member(tx, business.id, owner, new.password_hash)
    account = NewAdAccount(name, new.country, new.currency, new.timezone)
    accounts.add_ad_account(tx, business.id, account)
    return business, member


def list_done_steps(tx: Tx, business_id: BusinessId) -> set[Step]:
    """The steps that are done, as the business is now."""
    channels, capturing = list_accounts(tx, business_id), list_capturing(tx, business_id)
    done = {
        Step.CHANNEL: bool(channels),
        Step.CAPTURE: any(each.id in capturing for each in channels),
        Step.FORM: bool(list_versions(tx, business_id)),
        Step.AD: has_ad(tx, business_id),
        Step.COLLEAGUE: len(known.list_members(tx, business_id)) > 1,
        Step.LEAD: bool(list_leads(tx, business_id, LeadFilter(), limit=1)),
    }
    return {step for step, is_done in done.items() if is_done}
