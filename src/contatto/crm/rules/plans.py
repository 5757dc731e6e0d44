"""The kinds of requests of CRM sync, and when each is tried again."""

from datetime import timedelta
from typing import Final

from contatto.kit.outbound.model import RetryPlan

DELIVERY: Final = "crm_delivery"
ERASURE: Final = "crm_erasure"
POLL: Final = "crm_poll"
CHECK: Final = "crm_check"
CONSENT: Final = "crm_consent"
TRIAL: Final = "crm_trial"
COMPARISON: Final = "crm_comparison"
"""Names of kinds; they are kept in rows and never change."""

_WAITS_S: Final = (60, 300, 1_800, 7_200, *(21_600,) * 120)
"""A minute, then slower; from half a day on every six hours for a month.

The first wait is longer than any search lag, so that what was made before an answer was lost is found.
"""
DELIVERY_PLAN: Final = RetryPlan(_WAITS_S, timedelta(days=30))
ERASURE_PLAN: Final = DELIVERY_PLAN
POLL_PLAN: Final = RetryPlan(_WAITS_S)
CHECK_PLAN: Final = POLL_PLAN
CONSENT_PLAN: Final = RetryPlan((1, 2, 4, 8, 15, 30, 60, 60, 60), timedelta(minutes=10))
"""A code lives for ten minutes at the most. Source: RFC 6749, 4.1.2."""
TRIAL_PLAN: Final = RetryPlan((60, 300))
CHECK_EVERY_S: Final = 86_400.0
COMPARISON_PLAN: Final = POLL_PLAN
COMPARE_EVERY_S: Final = 86_400.0
COMPARE_AGAIN_S: Final = 3_600.0
"""After a comparison that found something: what was sent again is there by then."""
SETTLED_FOR: Final = timedelta(minutes=15)
"""What was verified more lately need not stand in a CRM's lists yet."""
SENT_AGAIN_AT_MOST: Final = 500
"""Leads that one comparison sends again; the next goes on."""
SEARCH_LAG: Final = timedelta(seconds=60)
"""No CRM may take longer to find what was made: no try comes sooner after one whose answer was lost."""
DIFFERS_AT_MOST: Final = 4
"""Tries of which each read back something else than was written, before a person has to look."""
SOON_S: Final = 1.0
"""Until somebody else has renewed a token."""
RENEWING: Final = timedelta(seconds=60)
MOST_RENEWALS: Final = 2
KEEP: Final = timedelta(days=90)
"""How long deliveries are kept that have arrived."""
ECHO: Final = timedelta(hours=24)
"""How long what we wrote is known as ours when it comes back."""
ALARM_AFTER: Final = timedelta(minutes=5)
"""How long leads may be due at an active target, with none verified, before that is an alarm."""
