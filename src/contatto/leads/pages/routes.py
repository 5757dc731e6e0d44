"""All pages of the Leads Center in one router; fixed addresses come before those with an id."""

from typing import Final

from fastapi import APIRouter

from contatto.leads.pages import (
    bulk,
    center,
    detail,
    downloads,
    erasing,
    importing,
    joining,
    merging,
    views,
    work,
)

router: Final = APIRouter(include_in_schema=False)
for part in (center, downloads, views, bulk, importing, erasing, joining, detail, work, merging):
    router.include_router(part.router)
