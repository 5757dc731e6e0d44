"""The operator's commands for balances of ad accounts: show, pay in, limit."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts.model import AdAccount
from contatto.accounts.store import find_ad_account_by_number, list_ad_accounts
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.delivery.actions.budgets import pay_in, set_balance_limit
from contatto.delivery.model import Balance
from contatto.delivery.store.ledger import find_balance
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.numbers import amount_written, to_micros

AccountId = Annotated[int, typer.Argument(help="Id of the ad account, as the list shows it.")]
Amount = Annotated[str, typer.Argument(help="Amount in units of the currency; a refund is below 0.")]
commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("show")
def show_command(business: Of = "") -> None:
    """Show what each ad account paid in, was charged and has left."""

    def work(tx: Tx) -> list[tuple[AdAccount, Balance]]:
        one_business = find_one_business(tx, business)
        return [
            (ad_account, find_balance(tx, one_business.id, ad_account.id))
            for ad_account in list_ad_accounts(tx, one_business.id)
        ]

    table = Table("ad account", "name", "currency", "paid in", "charged", "left", "credit", "mode")
    for account, balance in carry_out(work):
        amounts = (balance.paid_in_micros, balance.charged_micros, balance.left_micros, balance.credit_micros)
        mode = "limited" if balance.is_limited else "open"
        shown = [amount_written(amount, account.currency) for amount in amounts]
        table.add_row(str(account.number), account.name, account.currency, *shown, mode)
    print_table(table)


@commands.command("pay")
def pay_command(
    account_id: AccountId,
    amount: Amount,
    note: Annotated[str, typer.Option(help="What the statement says of it.")] = "",
    business: Of = "",
) -> None:
    """Note a payment. It limits nothing by itself: see `limit`."""
    _change(account_id, business, "pay", lambda tx, account: pay_in(tx, account, _micros(amount), note))


@commands.command("limit")
def limit_command(
    account_id: AccountId,
    credit: Annotated[str, typer.Option(help="What the account may owe.")] = "0",
    is_open: Annotated[bool, typer.Option("--open", help="No limit but the budgets.")] = False,
    business: Of = "",
) -> None:
    """Charge an account no more than it paid in and may owe, or end that with --open."""

    def work(tx: Tx, account: AdAccount) -> Balance:
        return set_balance_limit(tx, account, is_limited=not is_open, credit_micros=_micros(credit))

    _change(account_id, business, "limit", work)


def _change(number: int, business: str, what: str, work: Callable[[Tx, AdAccount], Balance]) -> None:
    def change(tx: Tx) -> tuple[AdAccount, Balance]:
        one_business = find_one_business(tx, business)
        account = find_ad_account_by_number(tx, one_business.id, number)
        if account is None:
            raise Refused(errors.NOT_FOUND, "No ad account has this id.")
        made = work(tx, account)
        record_command(tx, one_business, f"balance {what}", f"ad account {number}")
        return account, made

    account, balance = carry_out(change)
    left = f"{amount_written(balance.left_micros, account.currency)} {account.currency}"
    says = "is limited to it and its credit" if balance.is_limited else "is not limited to it"
    out.print(f"{account.name} has {left}, and {says}.")


def _micros(text: str) -> int:
    try:
        return to_micros(text)
    except ValueError as error:
        raise Refused(errors.INVALID, "Enter the amount as a number.") from error
