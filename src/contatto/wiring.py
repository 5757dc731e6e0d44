"""Who hears of what, and what happens by the clock: the tables that tie the capabilities together."""

from collections.abc import Callable
from typing import Final

from contatto.accounts import actions as accounts
from contatto.forms.model import FormSubmitted
from contatto.inbox import actions as inbox
from contatto.inbox.model import ConversationStarted, MessageReceived, MessageSent, NoticePosted
from contatto.kit import outbox, repeats
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import After
from contatto.leads.model import (
    ContactRejected,
    LeadCaptured,
    LeadEdited,
    LeadRemoved,
    LeadStatusChanged,
    LeadUpdated,
)
from contatto.reports import actions as reports

AFTER: Final[After] = {
    ContactRejected: (),
    ConversationStarted: (),
    FormSubmitted: (),
    LeadCaptured: (inbox.post_notice,),
    LeadEdited: (),
    LeadRemoved: (inbox.forget_lead,),
    LeadStatusChanged: (),
    LeadUpdated: (inbox.post_notice,),
    MessageReceived: (),
    MessageSent: (),
    NoticePosted: (),
}
"""After an event: its handlers, each in a transaction of its own. All events reach open pages too."""

type Chore = Callable[[Tx], int]

WHEN_WOKEN: Final[tuple[Chore, ...]] = (inbox.settle_receipts, reports.finish_reports)
"""Work that waits in tables: run until each says 0, whenever something was committed."""

EVERY: Final[tuple[tuple[float, Chore], ...]] = (
    (3600.0, outbox.forget_old),
    (3600.0, accounts.end_expired_sessions),
    (3600.0, accounts.end_expired_codes),
    (3600.0, repeats.forget_answers),
    (3600.0, reports.forget_reports),
)
"""Work by the clock: seconds between two runs, and what is run."""
