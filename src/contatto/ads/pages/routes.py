"""All pages of the Ads Manager in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.ads.pages import ad_accounts, ad_groups, audiences, bulk, forms, tree

router: Final = APIRouter(include_in_schema=False)
for part in (tree, bulk, audiences, forms, ad_groups, ad_accounts):
    router.include_router(part.router)
