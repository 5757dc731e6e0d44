"""Whose report an address asks for, and which days these are."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.requests import Request

from contatto.accounts import store as accounts
from contatto.accounts.actions import load_advertiser
from contatto.accounts.model import AdAccount, Caller
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.reports.registry import METRICS
from contatto.reports.rules.looks import Look, days_of, read_look


@dataclass(frozen=True, slots=True)
class ReportPageQuery:
    """An ad account with what is asked about it; ``today`` is its own date."""

    account: AdAccount
    look: Look
    today: date

    @property
    def days(self) -> tuple[date, date]:
        return days_of(self.look, self.today)

    @property
    def between(self) -> tuple[datetime, datetime]:
        """The first moment of the days, and the first one after them."""
        first, last = self.days
        zone = ZoneInfo(self.account.timezone)
        after = last + timedelta(days=1)
        return (
            datetime(first.year, first.month, first.day, tzinfo=zone),
            datetime(after.year, after.month, after.day, tzinfo=zone),
        )


def look_of(request: Request) -> Look:
    return read_look(request.query_params.multi_items(), METRICS)


def find_report_page_query(tx: Tx, caller: Caller, look: Look) -> ReportPageQuery:
    """The account that is asked for, or the first one.

    Raises:
        Refused: NO_AD_ACCOUNT, where the business has none; NO_ADVERTISER for one of another.
    """
    if look.advertiser:
        account = load_advertiser(tx, caller, number_of(look.advertiser))
    else:
        ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
        if not ad_accounts:
            raise Refused(errors.NO_AD_ACCOUNT)
        account = ad_accounts[0]
    today = tx.now.astimezone(ZoneInfo(account.timezone)).date()
    return ReportPageQuery(account, replace(look, advertiser=str(account.number)), today)
