"""All pages of signals as one router."""

from typing import Final

from fastapi import APIRouter

from contatto.signals.pages import accounts, of_lead

router: Final = APIRouter()
for part in (accounts, of_lead):
    router.include_router(part.router)
