"""All endpoints of signals as one router."""

from contatto.signals.api.ledger import router as router
