"""The API of CRMs as one router."""

from typing import Final

from fastapi import APIRouter

from contatto.crm.api import events, ledger

router: Final = APIRouter()
for part in (events, ledger):
    router.include_router(part.router)
