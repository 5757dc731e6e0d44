"""Test events: about nobody, by the same way as real ones, and with what the platform says to them."""

import re
from typing import Final

from contatto.ad_platforms.model import AdPlatform, OutsideAccount
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.ad_platforms.store import find_outside_account, find_outside_token
from contatto.channels.model import Platform
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import delete_requests_of, queue_request
from contatto.signals.actions.scheduling import destination_of_signals
from contatto.signals.model.events import (
    SIGNAL_TEST,
    Feed,
    ShutOut,
    SignalEvent,
    SignalTest,
    SignalTestState,
    Whom,
)
from contatto.signals.model.settings import SignalSettings
from contatto.signals.model.settings import Step as LeadStep
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules.plans import TEST_PLAN
from contatto.signals.rules.reasons import TOKEN_MISSING
from contatto.signals.rules.steps import name_of
from contatto.signals.store import settings as store

ANSWER_LIMIT: Final = 500
"""Characters of the platform's answer that are kept."""
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NOBODY: Final = "nobody@example.com"
_NO_PHONE: Final = "+15005550006"
_MADE_UP: Final = "contatto-test"


def ask_for_test(tx: Tx, settings: SignalSettings, step: LeadStep, code: str) -> None:
    """Send a test event as the platform's test code asks for; its answer is shown when it is there.

    Raises:
        Refused: INVALID, naming the field; CONFLICT, where the account has no token.
    """
    kept = code.strip()
    if not _CODE.fullmatch(kept):
        raise Refused(errors.INVALID, "code: Paste the test code shown in the platform's Events Manager.")
    account = find_outside_account(tx, settings.business_id, settings.outside_account_id)
    if account is None or find_outside_token(tx, account) is None:
        raise Refused(errors.CONFLICT, "This account is not connected. Add an access token first.")
    if not name_of(settings, CONNECTORS[account.platform].names, step):
        raise Refused(errors.INVALID, "steps: The platform has no event for this stage.")
    where = account.id, account.business_id
    store.save_signal_test(tx, SignalTest(*where, step, kept, SignalTestState.ASKED, "", "", tx.now, None))
    delete_requests_of(tx, account.business_id, SIGNAL_TEST, [account.id])
    new = NewRequest(
        account.business_id, SIGNAL_TEST, account.id, destination_of_signals(account), account.id
    )
    queue_request(tx, new, TEST_PLAN)


def signal_test_kind() -> OutboundKind:
    """Return how test events are brought to ad platforms."""
    return OutboundKind(SIGNAL_TEST, begin_signal_test, read_signal_test, settle_signal_test, TEST_PLAN)


def begin_signal_test(tx: Tx, request: OutboundRequest) -> Step:
    """The request of a test event."""
    test = store.find_signal_test(tx, request.business_id, request.subject)
    settings = store.find_signal_settings(tx, request.business_id, request.subject)
    account = find_outside_account(tx, request.business_id, request.subject)
    if test is None or settings is None or account is None:
        return Done()
    token = find_outside_token(tx, account)
    if token is None:
        return Failed(TOKEN_MISSING)
    connector = CONNECTORS[account.platform]
    name, whom = name_of(settings, connector.names, test.step), _nobody(tx, account, settings)
    worth = (1_000_000, settings.currency or "USD") if test.step is LeadStep.CONVERTED else (None, "")
    event = SignalEvent(new_id(), name, test.created_at, 1, whom, *worth)
    feed = Feed(account.base_url, settings.dataset_id, token, test.code)
    return Ask(connector.ask(feed, event))


def _nobody(tx: Tx, account: OutsideAccount, settings: SignalSettings) -> Whom:
    """Made-up contact details; of the business what real signals would have."""
    if account.platform is not AdPlatform.META:
        return Whom(_MADE_UP, (_NOBODY,), (_NO_PHONE,))
    chats = [
        each
        for each in list_accounts(tx, account.business_id)
        if AD_PLATFORMS.get(each.platform) is account.platform
    ]
    page = next((chat for chat in chats if chat.platform is not Platform.WHATSAPP), None)
    if settings.whatsapp_id or page is None:
        ids = (_MADE_UP, Platform.WHATSAPP, settings.whatsapp_id or "0")
    else:
        ids = ("", page.platform, page.external_id)
    return Whom(_MADE_UP, (_NOBODY,), (_NO_PHONE,), *ids, scoped_id="0")


def read_signal_test(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """Keep what the platform said, whatever it means."""
    test = store.find_signal_test(tx, request.business_id, request.subject)
    account = find_outside_account(tx, request.business_id, request.subject)
    if test is None or account is None:
        return Done()
    said = answer.body[: 4 * ANSWER_LIMIT].decode("utf-8", "replace").replace("\0", "")[:ANSWER_LIMIT]
    store.record_signal_test(tx, test, answer=said)
    outcome = CONNECTORS[account.platform].read(answer)
    if isinstance(outcome, ShutOut):
        return Failed(outcome.reason)
    if isinstance(outcome, Done):
        store.record_signal_test(tx, test, state=SignalTestState.TAKEN, reason="", settled_at=tx.now)
    return outcome


def settle_signal_test(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Say why a test event was not taken; whether it is tried again."""
    test = store.find_signal_test(tx, request.business_id, request.subject)
    if test is None or not isinstance(outcome, NotNow | Failed):
        return
    is_over = state is not RequestState.DUE
    changes = {"state": SignalTestState.FAILED, "settled_at": tx.now} if is_over else {}
    store.record_signal_test(tx, test, reason=outcome.reason[:64], **changes)
