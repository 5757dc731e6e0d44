"""All routes of the ads API in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.ads.api import ad_groups, ads, campaigns, eligibility

router: Final = APIRouter()
for part in (campaigns, ad_groups, ads, eligibility):
    router.include_router(part.router)
