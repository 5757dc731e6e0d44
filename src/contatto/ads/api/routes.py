"""All routes of the ads API in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.ads.api import (
    ad_groups,
    ads,
    audiences,
    auto_messages,
    campaigns,
    eligibility,
    identities,
    regions,
    smart_plus,
    smart_plus_ads,
)

router: Final = APIRouter()
for part in (
    campaigns,
    ad_groups,
    ads,
    smart_plus,
    smart_plus_ads,
    auto_messages,
    identities,
    regions,
    eligibility,
    audiences,
):
    router.include_router(part.router)
