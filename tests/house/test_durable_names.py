"""Names that are kept in tables and outlive a release: what waits under one must find it again."""

from contatto.kit.outbox import event_name
from contatto.wiring import AFTER

HANDLERS = {
    "ad_tapped": {"push_tap", "signal_tap"},
    "channel_lost": {"alert_channel"},
    "conversation_marked_spam": {"learn_spam", "signal_spam"},
    "conversation_read": {"push_read"},
    "conversation_started": {"learn_conversation"},
    "form_submitted": {"push_form_lead"},
    "lead_captured": {"alert_lead", "learn_lead", "post_notice", "push_hooks", "push_lead"},
    "lead_job_moved": {"continue_job"},
    "lead_removed": {"forget_lead", "forget_lead_pushes"},
    "lead_status_changed": {"learn_quality", "note_lead", "push_hooks"},
    "lead_updated": {"post_notice", "push_hooks", "push_lead"},
    "leads_merged": {"note_lead"},
    "message_received": {"alert_message", "judge_message", "push_message"},
    "message_sent": {"push_message"},
    "outside_ads_mirrored": {"credit_referrals"},
    "test_lead_made": {"push_test_lead"},
    "work_assigned": {"alert_assignment"},
}
"""The handlers that jobs wait for. Add new ones here. One that is renamed or removed leaves its jobs waiting
for ever: keep the old name beside the new one for a release, or move the jobs by a schema step."""


def test_every_name_that_jobs_wait_under_is_still_known() -> None:
    known = {event_name(kind): set(handlers) for kind, handlers in AFTER.items() if handlers}
    assert known == HANDLERS


def test_names_fit_into_their_column_and_say_nothing_of_modules() -> None:
    for names in HANDLERS.values():
        assert all(name.isidentifier() and name.islower() and len(name) <= 64 for name in names)
