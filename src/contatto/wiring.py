"""Composition root: handlers, queues, periodic jobs, ports and resources of all packages."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from contatto.accounts import actions as accounts
from contatto.accounts.actions import purge_kept_pages
from contatto.accounts.model import Permission
from contatto.ad_platforms.actions import PULL_KIND
from contatto.ad_platforms.model import OutsideAdsMirrored
from contatto.ads.actions.edits import purge_drafts
from contatto.ads.store import SpendPort
from contatto.alerts import actions as alerts_actions
from contatto.alerts.connectors import web_push
from contatto.alerts.model import ALERT_PUSH, AlertKind, AlertMedium, AlertRaised
from contatto.alerts.store import has_due_alert, list_alerted_businesses
from contatto.audiences import actions as audiences
from contatto.capture.rules import warm
from contatto.channels.actions import begin_check, read_check_answer, settle_check
from contatto.channels.model import CHECK, ChannelChecked, ChannelLost, Platform
from contatto.channels.rules import CHECK_PLAN
from contatto.channels.store import (
    AccountBatcher,
    AppIndex,
    list_public_accounts,
    list_registration_countries,
)
from contatto.crm.actions.deliveries import CrmPorts, purge_sync, release_deliveries, sweep_leads
from contatto.crm.actions.targets import crm_kinds, list_alarms
from contatto.crm.model import CrmProgressed
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.deliveries import crm_targets, has_sweep, list_lead_ids_in_state, list_states_of_leads
from contatto.crm.store.deliveries import ledger as crm_ledger
from contatto.delivery import store as delivery_store
from contatto.delivery.actions import ledger, results, training
from contatto.delivery.actions.serving import AdServer, RecentCallers
from contatto.forms import actions as forms
from contatto.forms.model import FormSubmitted, TestLeadMade
from contatto.forms.store import form_pictures, list_receipts_of_lead
from contatto.inbox.actions import forms as lead_forms
from contatto.inbox.actions import incoming, replies
from contatto.inbox.actions.incoming import judge_messages, post_notices, settling_work
from contatto.inbox.actions.replies import push_message, push_read, push_tap, send_scheduled
from contatto.inbox.actions.threads import (
    forget_chats,
    forget_lead,
    hold_chats,
    learn_marked_chats,
    wake_conversations,
)
from contatto.inbox.auth import ChatLimits
from contatto.inbox.model import (
    REPLY,
    AdTapped,
    ConversationChanged,
    ConversationMarkedSpam,
    ConversationRead,
    ConversationStarted,
    CustomerTyping,
    MemberTyping,
    MessageReceived,
    MessageSent,
    NoticePosted,
    ReplyProgressed,
)
from contatto.inbox.store import desk
from contatto.inbox.store.conversations import Backlog, count_receipts
from contatto.inbox.store.messages import SCHEDULED, find_first_answer, photos
from contatto.kit import outbox
from contatto.kit.background import (
    Installation,
    MaintenanceJob,
    PeriodicJob,
    PeriodicReadJob,
    PeriodicStudy,
    QueuedWork,
)
from contatto.kit.concurrency import HashPool
from contatto.kit.db.database import CachedCounts, Database
from contatto.kit.db.tx import Parts
from contatto.kit.exports import ExportKind, purge_exports
from contatto.kit.idempotency import purge_answered_requests
from contatto.kit.outbound.queue import OutboundKind, expire_requests, purge_jobs
from contatto.kit.outbox import KEEP, After, BatchHandler, TenantHandler, dispatch_events, purge_events
from contatto.kit.rate_limits import GuessLimit, RequestLimit, purge_limits
from contatto.kit.settings import Settings
from contatto.leads.actions import jobs
from contatto.leads.actions.annotations import purge_rejected
from contatto.leads.actions.jobs import scoring_study
from contatto.leads.model import (
    ContactRejected,
    LeadCaptured,
    LeadEdited,
    LeadJobMoved,
    LeadRemoved,
    LeadsMerged,
    LeadStatusChanged,
    LeadUpdated,
    WorkAssigned,
)
from contatto.leads.ports import LeadPorts
from contatto.leads.store.tables import lead_jobs
from contatto.mail import mail_kind, purge_mails
from contatto.measurement import actions as measurement
from contatto.measurement.actions import ChargePort, GatheredTouches
from contatto.operators import actions as operators_actions
from contatto.operators.actions import purge_admission_codes, purge_sightings
from contatto.people.store import purge_failed_logins, purge_invitations, purge_known_logins
from contatto.reports.actions import reports
from contatto.signals import actions as ad_signals
from contatto.signals.actions import (
    SIGNAL_KINDS,
    carry_change,
    carry_erasure,
    carry_merge,
    list_platform_counts,
    list_signal_alarms,
)
from contatto.signals.store import ledger as signal_ledger
from contatto.subscriptions import actions as pushes
from contatto.subscriptions.actions import PUSH_KINDS, push_hooks
from contatto.subscriptions.model import Entity, SubscriptionEnded
from contatto.subscriptions.store import ledger as push_ledger
from contatto.subscriptions.store import list_subscribed_businesses
from contatto.ui.render import FragmentCache

_OF_CHATS: Final = partial(TenantHandler, list_subscribed_businesses, Entity.DIRECT_MESSAGE)
_OF_LEADS: Final = partial(TenantHandler, list_subscribed_businesses, Entity.LEAD)
_OF_NEW: Final = partial(TenantHandler, list_subscribed_businesses, Entity.LEAD_CREATED)
_OF_CHANGED: Final = partial(TenantHandler, list_subscribed_businesses, Entity.LEAD_CHANGED)
"""Handlers for businesses with a webhook subscription to chats, or to leads."""

_ALERTED: Final = partial(TenantHandler, list_alerted_businesses, None)
"""Handlers for businesses in which a member chose alerts by mail or push."""

AFTER: Final[After] = {
    AdTapped: {"push_tap": _OF_CHATS(push_tap), "signal_tap": ad_signals.signal_conversation},
    AlertRaised: {},
    ChannelChecked: {},
    ChannelLost: {"alert_channel": alerts_actions.alert_channel},
    ContactRejected: {},
    ConversationChanged: {},
    ConversationMarkedSpam: {"learn_spam": ledger.learn_spam, "signal_spam": ad_signals.signal_conversation},
    ConversationRead: {"push_read": _OF_CHATS(push_read)},
    ConversationStarted: {"learn_conversation": BatchHandler(ledger.learn_conversations)},
    CrmProgressed: {},
    FormSubmitted: {"push_form_lead": _OF_LEADS(pushes.push_form_lead)},
    LeadCaptured: {
        "alert_lead": _ALERTED(alerts_actions.alert_lead),
        "learn_lead": BatchHandler(ledger.learn_leads),
        "post_notice": BatchHandler(post_notices),
        "push_hooks": _OF_NEW(push_hooks),
        "push_lead": _OF_LEADS(pushes.push_lead),
    },
    LeadEdited: {},
    LeadJobMoved: {"continue_job": jobs.continue_job},
    LeadRemoved: {"forget_lead": forget_lead, "forget_lead_pushes": pushes.forget_lead_pushes},
    LeadStatusChanged: {
        "learn_quality": BatchHandler(ledger.learn_qualities),
        "note_lead": reports.note_lead,
        "push_hooks": _OF_CHANGED(push_hooks),
    },
    LeadsMerged: {"note_lead": reports.note_lead},
    LeadUpdated: {
        "post_notice": BatchHandler(post_notices),
        "push_hooks": _OF_CHANGED(push_hooks),
        "push_lead": _OF_LEADS(pushes.push_lead),
    },
    MessageReceived: {
        "alert_message": _ALERTED(alerts_actions.alert_message),
        "judge_message": BatchHandler(judge_messages),
        "push_message": _OF_CHATS(push_message),
    },
    MessageSent: {"push_message": _OF_CHATS(push_message)},
    NoticePosted: {},
    OutsideAdsMirrored: {"credit_referrals": incoming.credit_referrals},
    ReplyProgressed: {},
    SubscriptionEnded: {},
    TestLeadMade: {"push_test_lead": _OF_LEADS(pushes.push_test_lead)},
    WorkAssigned: {"alert_assignment": _ALERTED(alerts_actions.alert_assignment)},
}
"""Handlers of each event by name; see `EVENT_PERMISSIONS` for open pages.

Batch handlers run in the transaction of the dispatch, all others as jobs in their own transactions. Queued
jobs contain the names, so these never change; see tests/house/test_durable_names.py.
"""

EVENT_PERMISSIONS: Final[Mapping[type[Any], Permission]] = {
    OutsideAdsMirrored: Permission.READ_ADS,
    **dict.fromkeys((ChannelChecked, ChannelLost), Permission.ADMINISTER),
    **dict.fromkeys(
        (
            AdTapped, AlertRaised, ConversationChanged, ConversationMarkedSpam, ConversationRead,
            ConversationStarted, CustomerTyping, MemberTyping, MessageReceived, MessageSent, NoticePosted,
            ReplyProgressed, WorkAssigned,
        ),
        Permission.READ_INBOX,
    ),
    **dict.fromkeys(
        (
            ContactRejected, CrmProgressed, FormSubmitted, LeadCaptured, LeadEdited, LeadJobMoved,
            LeadRemoved, LeadStatusChanged, LeadsMerged, LeadUpdated,
            SubscriptionEnded, TestLeadMade,
        ),
        Permission.READ_LEADS,
    ),
}  # fmt: skip
"""Permission that a member needs to receive an event on an open page; pages get no other events."""

PORTS: Final = Parts(
    LeadPorts(
        unread_chats=partial(desk.select_leads_of_chats, condition=desk.IS_UNREAD),
        in_crm=list_lead_ids_in_state,
        crm_states=list_states_of_leads,
        waiting_chats=partial(desk.select_leads_of_chats, condition=desk.IS_WAITING),
        first_answer=find_first_answer,
        consents=list_receipts_of_lead,
        hold_chats=hold_chats,
        forget_chats=forget_chats,
        forget_answers=forms.forget_answers,
        forget_audiences=audiences.forget_members,
        forget_viewers=ledger.forget_viewers,
        lead_changed=carry_change,
        leads_merged=carry_merge,
        leads_gone=carry_erasure,
    ),
    CrmPorts(intake=count_receipts, signals=list_platform_counts, connectors=CONNECTORS),
    ChargePort(charge=ledger.charge_impressions, note_click=ledger.record_click),
    SpendPort(list_spent=delivery_store.list_spent),
)
"""Functions that packages call in packages above them."""


def queued_work(settings: Settings, parallel: int = 1) -> tuple[QueuedWork, ...]:
    """Return the work queues in tables, each in turn by tenant.

    ``parallel`` batches of received webhooks are settled at the same time.
    """
    return (
        *settling_work(parallel, partial(dispatch_events, AFTER)),
        QueuedWork(
            "lead_jobs",
            lambda tx: jobs.has_job_to_start(tx, settings.jobs_per_business),
            lambda tx: jobs.start_waiting_jobs(tx, settings.jobs_per_business),
            tables={lead_jobs.name},
        ),
        audiences.changes_work(),
        QueuedWork("crm_sweeps", has_sweep, sweep_leads, tables={crm_targets.name}),
        QueuedWork("crm_held", crm_ledger.has_waiting, release_deliveries, tables=crm_ledger.tables),
        QueuedWork(
            "signals_held", signal_ledger.has_waiting, ad_signals.release_signals, tables=signal_ledger.tables
        ),
        QueuedWork("pushes_held", push_ledger.has_waiting, pushes.release_pushes, tables=push_ledger.tables),
    )


EXPORTS: Final = {ExportKind.REPORT: reports.REPORT_FILES, ExportKind.LEADS: forms.LEAD_FILES}


def outbound_kinds(settings: Settings) -> dict[str, OutboundKind]:
    """Return the kinds of requests to outside systems, by the names that rows contain."""
    urls = {Platform(name): url for name, url in settings.platform_urls.items() if name in set(Platform)}
    reply = OutboundKind(
        REPLY,
        partial(replies.begin_reply, platform_urls=urls),
        replies.read_reply_answer,
        replies.settle_reply,
        replies.PLAN,
        lambda tx, request: replies.ready_reply(tx, request.business_id, request.subject),
    )
    check = OutboundKind(
        CHECK, partial(begin_check, platform_urls=urls), read_check_answer, settle_check, CHECK_PLAN
    )
    alert_push = OutboundKind(
        ALERT_PUSH,
        partial(alerts_actions.begin_alert_push, mail_from=settings.mail_from, base_url=settings.base_url),
        alerts_actions.read_alert_push_answer,
        alerts_actions.settle_alert_push,
        web_push.PLAN,
        keeps_progress=True,
    )
    kinds = (
        reply, PULL_KIND, mail_kind(settings.mail_from), check, alert_push, *PUSH_KINDS.values(),
        *crm_kinds(settings.base_url), *SIGNAL_KINDS,
    )  # fmt: skip
    return {kind.name: kind for kind in kinds}


PURGES: Final = (
    purge_admission_codes, purge_sightings, alerts_actions.purge_alerts, jobs.purge_imports, purge_rejected,
    pushes.purge_pushes, purge_events, purge_sync, purge_drafts, purge_kept_pages, accounts.purge_sessions,
    accounts.purge_codes, purge_failed_logins, purge_known_logins, purge_mails, purge_invitations,
    purge_limits, purge_answered_requests, audiences.purge_files,
)  # fmt: skip
"""Deletions of expired rows, each hour."""


def periodic_jobs(
    settings: Settings, kinds: Mapping[str, OutboundKind]
) -> tuple[PeriodicJob | PeriodicReadJob | PeriodicStudy, ...]:
    """Return the scheduled work."""
    counter, trainer = reports.DayCounter(), training.Trainer(settings.decision_log_days)
    sender, finder = operators_actions.AdSender(), results.LookalikeFinder()
    mail_alerts = partial(
        alerts_actions.mail_due_alerts, base_url=settings.base_url, sends_mail=settings.sends_mail
    )
    return (
        PeriodicReadJob(10.0, counter.start_over, counter.read_next),
        PeriodicReadJob(2.0, trainer.start_over, trainer.read_next),
        PeriodicReadJob(3.0, sender.start_over, sender.read_next),
        scoring_study(),
        *training.relearning_studies(settings),
        PeriodicReadJob(600.0, finder.start_over, finder.read_next),
        *(PeriodicJob(3600.0, purge) for purge in PURGES),
        PeriodicJob(3600.0, lambda tx: training.purge_log(tx, settings.decision_log_days)),
        PeriodicJob(600.0, learn_marked_chats),
        PeriodicJob(5.0, send_scheduled, SCHEDULED.is_due),
        PeriodicJob(3.0, mail_alerts, partial(has_due_alert, medium=AlertMedium.MAIL)),
        PeriodicJob(1.0, alerts_actions.push_due_alerts, partial(has_due_alert, medium=AlertMedium.PUSH)),
        PeriodicJob(60.0, alerts_actions.alert_due_tasks),
        PeriodicJob(60.0, alerts_actions.alert_waiting_chats),
        PeriodicJob(60.0, partial(alerts_actions.alert_alarms, AlertKind.CRM, list_alarms), list_alarms),
        PeriodicJob(
            60.0,
            partial(alerts_actions.alert_alarms, AlertKind.SIGNALS, list_signal_alarms),
            list_signal_alarms,
        ),
        PeriodicJob(30.0, wake_conversations),
        PeriodicJob(30.0, partial(purge_exports, formats=EXPORTS)),
        PeriodicJob(60.0, lambda tx: expire_requests(tx, kinds)),
        PeriodicJob(3600.0, lambda tx: purge_jobs(tx, tx.now - KEEP)),
        PeriodicJob(30.0, ad_signals.resume_renewed),
        PeriodicJob(3600.0, photos.purge, photos.has_unused),
        PeriodicJob(3600.0, form_pictures.purge, form_pictures.has_unused),
    )


def maintenance(settings: Settings) -> tuple[MaintenanceJob, ...]:
    """Return the scheduled work on files, which runs in a thread of its own."""
    folder = settings.sealed_folder
    if folder is None:
        return ()
    file_jobs = [measurement.sealing_job(folder, settings.seal_after_days)]
    if settings.hot_log_days:
        file_jobs.append(measurement.dropping_job(folder, settings.hot_log_days, reports.counted_until))
    if settings.decision_files_days:
        file_jobs.append(
            ledger.decision_sealing_job(folder, settings.seal_after_days, settings.decision_files_days)
        )
    return tuple(file_jobs)


def resources(db: Database, settings: Settings) -> Parts:
    """Return the caches, limits and buffers of one web app, as dependencies by type."""
    return Parts(
        AppIndex(db), Backlog(db), AccountBatcher(db.read, list_public_accounts),
        lead_forms.OpeningBatcher(db.read, lead_forms.list_opened), HashPool(), GuessLimit(),
        ChatLimits(), RecentCallers(), FragmentCache(), RequestLimit(settings.api_requests_per_minute, 60),
        AdServer(db, settings.views_per_viewer, settings.trial_share),
        GatheredTouches(db),
        lead_forms.FormBatcher(db, settings.new_visitors_per_hour, partial(dispatch_events, AFTER)),
        CachedCounts(db, {"leads", "conversations", "reply_targets"}),
    )  # fmt: skip


def prepare(db: Database) -> None:
    """Load data for the first message: lexicons, and number plans of the tenants' countries."""
    warm(db.read_now(list_registration_countries))


def install(settings: Settings) -> Installation:
    """Assemble an installation with these settings."""
    kinds = outbound_kinds(settings)
    return Installation(
        settings=settings,
        ports=PORTS,
        after=AFTER,
        event_permissions={
            outbox.event_name(kind): permission.value for kind, permission in EVENT_PERMISSIONS.items()
        },
        prepare=prepare,
        queued_work=partial(queued_work, settings),
        exports=EXPORTS,
        outbound=kinds,
        periodic_jobs=partial(periodic_jobs, settings, kinds),
        maintenance=maintenance(settings),
        resources=resources,
    )
