"""All pages of reports as one router."""

from typing import Final

from fastapi import APIRouter

from contatto.reports.pages import ads_manager, conversions, overview, saved, sources, what_if

router: Final = APIRouter()
for part in (ads_manager, overview, saved, sources, what_if, conversions):
    router.include_router(part.router)
