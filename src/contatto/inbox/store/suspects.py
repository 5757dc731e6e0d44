"""What tells spam from chats: whose leads were good, and who taps ads all day."""

from sqlalchemy import and_, func, select

from contatto.inbox.store.conversations import conversations
from contatto.kit.db.tx import Tx
from contatto.leads.model.leads import LeadStatus
from contatto.leads.store.records import leads
from contatto.measurement.store import IS_CLICK, touches


def list_chats_of_good_leads(tx: Tx, business_id: str, limit: int) -> list[str]:
    """The latest chats whose leads are qualified or converted, by their ids."""
    theirs = and_(leads.c.id == conversations.c.lead_id, leads.c.business_id == conversations.c.business_id)
    good = leads.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED))
    mine = select(conversations.c.id).join(leads, theirs)
    mine = mine.where(conversations.c.business_id == business_id, good)
    return list(tx.execute(mine.order_by(conversations.c.last_message_at.desc()).limit(limit)).scalars())


def count_taps(tx: Tx, business_id: str, person_id: str, since_ts: int) -> int:
    """How often a person tapped ads since a microsecond."""
    mine = touches.c.business_id == business_id, touches.c.person_id == person_id
    lately = IS_CLICK, touches.c.ts >= since_ts
    return int(tx.scalar(select(func.count()).select_from(touches).where(*mine, *lately)))
