"""All pages of signals as one router."""

from contatto.signals.pages.accounts import router as router
