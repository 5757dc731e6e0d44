"""All pages of linked CRMs as one router; fixed addresses come before those with a number."""

from typing import Final

from fastapi import APIRouter

from contatto.crm.pages import consenting, deliveries, linking, mapping, of_lead, steering, targets

router: Final = APIRouter()
for part in (consenting, linking, deliveries, mapping, of_lead, steering, targets):
    router.include_router(part.router)
