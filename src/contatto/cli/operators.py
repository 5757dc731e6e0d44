"""Commands for marketplaces, and for balances of ad accounts."""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts.model import Role
from contatto.accounts.store import find_ad_account, find_business, list_ad_accounts
from contatto.cli.installation import (
    BusinessOption,
    business_transaction,
    out,
    print_table,
    record_command,
    transaction,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.settings import Settings
from contatto.kit.values import amount_written, to_micros
from contatto.operators import actions as operators_actions
from contatto.operators import store as operators_store
from contatto.operators.model import (
    Admission,
    AdmissionState,
    Balance,
    Category,
    Operator,
    Placement,
    ReviewState,
)
from contatto.people.actions import invitation_path, invite_member

OperatorOption = Annotated[
    str, typer.Option("--operator", help="Name or id of the marketplace; needed when there are several.")
]
ReasonOption = Annotated[str, typer.Option(help="The reason, which the business reads.")]
BusinessArgument = Annotated[str, typer.Argument(help="Name or id of the business.")]
OperatorAccountId = Annotated[int, typer.Argument(help="Id of the ad account, as `balances` shows it.")]
PaidAmount = Annotated[str, typer.Argument(help="Amount in units of the currency; one paid back is below 0.")]
CategoryOptions = Annotated[
    list[Category], typer.Option("--category", help="One that is taken; else all are.")
]
PlainOption = Annotated[bool, typer.Option("--plain", help="The ids alone, one a line, for a script.")]
operator_commands = typer.Typer(
    no_args_is_help=True,
    help="Marketplaces: open one, its placements, who takes part, the review of their ads, what they pay.",
)


def _find_operator(tx: Tx, name_or_id: str) -> Operator:
    """Return the marketplace with this name or id, or the only one. Raises NOT_FOUND."""
    operators = operators_store.list_operators(tx)
    matches = [operator for operator in operators if name_or_id in ("", operator.business_id, operator.name)]
    if len(matches) != 1:
        names = ", ".join(operator.name for operator in operators) or "none yet; run contatto operator add"
        raise Refused(errors.NOT_FOUND, "--operator: use one of %(names)s.", names=names)
    return matches[0]


@contextmanager
def _marketplace(name_or_id: str, command: str = "") -> Iterator[tuple[Tx, Operator]]:
    """Open a transaction on one marketplace; a command that changes it goes into its audit log."""
    with transaction() as tx:
        marketplace = _find_operator(tx, name_or_id)
        yield tx, marketplace
        if command:
            _record(tx, marketplace, command)


def _record(tx: Tx, marketplace: Operator, command: str) -> None:
    """Write a command into the audit log of the marketplace's own business."""
    tenant = find_business(tx, marketplace.business_id)  # type: ignore[arg-type]  # an id of a tenant as a plain text
    if tenant is not None:
        record_command(tx, tenant, f"operator {command}")


@operator_commands.command("add")
def add_operator_command(
    name: Annotated[str, typer.Argument(help="Name of the marketplace.")],
    email: Annotated[str, typer.Option(help="E-mail of who runs it.")],
    timezone: Annotated[str, typer.Option(help="Time zone of its days, an IANA name.")] = "UTC",
    unlisted: Annotated[bool, typer.Option(help="Let in only who has a code.")] = False,
) -> None:
    """Open a marketplace, and print the link by which its owner comes in."""
    with transaction() as tx:
        if name in [operator.name for operator in operators_store.list_operators(tx)]:
            raise Refused(errors.INVALID, "name: another marketplace has this name.")
        operator = operators_actions.open_operator(tx, name, timezone, is_listed=not unlisted)
        invitation = invite_member(tx, operator.business_id, email, Role.OWNER)  # type: ignore[arg-type]  # as above
        _record(tx, operator, "add")
        link = Settings().link_address + invitation_path(tx, invitation, invitation.email)
    out.print(link, soft_wrap=True)


@operator_commands.command("list")
def list_operators_command() -> None:
    """Show the marketplaces of this installation."""
    table = Table("id", "name", "time zone", "open to all")
    with transaction() as tx:
        operators = operators_store.list_operators(tx)
    for operator in operators:
        table.add_row(
            operator.business_id, operator.name, operator.timezone, "yes" if operator.is_listed else "no"
        )
    print_table(table)


@operator_commands.command("placement")
def placement_command(
    name: Annotated[str, typer.Argument(help="Name of the placement; a known one is changed.")],
    currency: Annotated[str, typer.Option(help="Currency of its prices, such as SGD.")] = "",
    floor: Annotated[str, typer.Option(help="Least price of a thousand views.")] = "1",
    category: CategoryOptions = [],  # noqa: B006  # typer copies it
    block: Annotated[list[str], typer.Option(help="A business that is never shown here.")] = [],  # noqa: B006
    most_views: Annotated[int, typer.Option(help="Ads a person sees here a day; 0 for no limit.")] = 0,
    off: Annotated[bool, typer.Option("--off", help="Show nothing here for now.")] = False,
    operator: OperatorOption = "",
) -> None:
    """Add a placement, or set the rules of one."""
    with _marketplace(operator, "placement") as (tx, marketplace):
        placements = operators_store.list_placements(tx, marketplace.business_id)
        existing = next((placement for placement in placements if placement.name == name), None)
        blocked = tuple(_find_admission(tx, marketplace, name_or_id).business_id for name_or_id in block)
        placement = Placement(
            existing.id if existing else "", marketplace.business_id, name,
            currency or (existing.currency if existing else ""),
            _micros(floor), tuple(category), blocked, most_views, not off, tx.now,
        )  # fmt: skip
        if existing is None:
            placement = operators_actions.add_placement(tx, marketplace, placement)
        else:
            operators_actions.change_placement(tx, marketplace, placement)
    out.print(placement.id)


@operator_commands.command("placements")
def placements_command(operator: OperatorOption = "") -> None:
    """Show the placements and their rules."""
    table = Table("id", "name", "floor", "categories", "blocked", "a day", "state")
    with _marketplace(operator) as (tx, marketplace):
        placements = operators_store.list_placements(tx, marketplace.business_id)
    for placement in placements:
        floor = f"{amount_written(placement.floor_micros, placement.currency)} {placement.currency}"
        category_names = ", ".join(placement.categories) or "all"
        state = "on" if placement.is_on else "off"
        views = str(placement.most_views or "any")
        table.add_row(
            placement.id, placement.name, floor, category_names, str(len(placement.blocked)), views, state
        )
    print_table(table)


@operator_commands.command("code")
def code_command(operator: OperatorOption = "") -> None:
    """Print a code that lets one business in at once; it is good for fourteen days and shown this once."""
    with _marketplace(operator, "code") as (tx, marketplace):
        code = operators_actions.make_code(tx, marketplace)
    out.print(code, soft_wrap=True)


@operator_commands.command("join")
def join_command(
    category: Annotated[Category, typer.Option(help="What the business advertises.")],
    code: Annotated[str, typer.Option(help="A code of the marketplace; else it decides.")] = "",
    operator: OperatorOption = "",
    business: BusinessOption = "",
) -> None:
    """Let a business ask a marketplace to take part, or join it by a code."""
    with business_transaction(business) as (tx, one_business):
        if code:
            admission = operators_actions.join_by_code(tx, code, one_business, category)
        else:
            marketplace = _find_operator(tx, operator)
            admission = operators_actions.ask_admission(tx, marketplace.business_id, one_business, category)
        if admission.state is AdmissionState.ADMITTED:
            operators_actions.send_ads(tx, admission)
        record_command(tx, one_business, "operator join")
    out.print(f"{admission.business_name} at {admission.operator_name}: {admission.state.value}.")


def _find_admission(tx: Tx, marketplace: Operator, name_or_id: str) -> Admission:
    """Find the admission of a business by its name or id.

    Raises NOT_FOUND for a business that never asked.
    """
    admissions = operators_store.list_admissions(tx, marketplace.business_id)
    matches = [
        admission
        for admission in admissions
        if name_or_id in (admission.business_id, admission.business_name)
    ]
    if len(matches) != 1:
        names = ", ".join(admission.business_name for admission in admissions) or "none yet"
        raise Refused(errors.NOT_FOUND, "Use one of the businesses that applied: %(names)s.", names=names)
    return matches[0]


@operator_commands.command("businesses")
def businesses_command(operator: OperatorOption = "") -> None:
    """Show who takes part, and who wants to."""
    table = Table("id", "name", "category", "state", "asked on", "reason")
    with _marketplace(operator) as (tx, marketplace):
        admissions = operators_store.list_admissions(tx, marketplace.business_id)
    for admission in admissions:
        asked_on = f"{admission.asked_at:%Y-%m-%d}"
        state = admission.category.value, admission.state.value, asked_on, admission.reason
        table.add_row(admission.business_id, admission.business_name, *state)
    print_table(table)


@operator_commands.command("admit")
def admit_command(business: BusinessArgument, operator: OperatorOption = "") -> None:
    """Let a business take part; its ads come to the review."""
    _decide(operator, business, AdmissionState.ADMITTED, "")


@operator_commands.command("refuse")
def refuse_command(business: BusinessArgument, reason: ReasonOption, operator: OperatorOption = "") -> None:
    """Do not let a business take part."""
    _decide(operator, business, AdmissionState.REFUSED, reason)


@operator_commands.command("suspend")
def suspend_command(business: BusinessArgument, reason: ReasonOption, operator: OperatorOption = "") -> None:
    """Let a business take part no more until it is admitted again."""
    _decide(operator, business, AdmissionState.SUSPENDED, reason)


def _decide(operator: str, business: str, state: AdmissionState, reason: str) -> None:
    with _marketplace(operator, state.value) as (tx, marketplace):
        admission = _find_admission(tx, marketplace, business)
        decided = operators_actions.decide_admission(tx, marketplace, admission.business_id, state, reason)
        if state is AdmissionState.ADMITTED:
            operators_actions.send_ads(tx, decided)
    out.print(f"{decided.business_name} is {decided.state.value}.")


@operator_commands.command("ads")
def ads_command(
    state: Annotated[ReviewState, typer.Option(help="Which ones.")] = ReviewState.PENDING,
    plain: PlainOption = False,
    operator: OperatorOption = "",
) -> None:
    """Show the ads that wait for the review, or those that went through it."""
    with _marketplace(operator) as (tx, marketplace):
        reviews = operators_store.list_reviews(tx, marketplace.business_id, state=state)
    if plain:
        for review in reviews:
            out.print(str(review.number))
        return
    table = Table("ad", "business", "headline", "text", "sent on", "reason")
    for review in reviews:
        sent_on = f"{review.sent_at:%Y-%m-%d}"
        table.add_row(
            str(review.number), review.business_name, review.headline, review.text, sent_on, review.reason
        )
    print_table(table)


AdNumber = Annotated[int, typer.Argument(help="The ad, as `ads` shows it.")]


@operator_commands.command("approve-ad")
def approve_command(number: AdNumber, operator: OperatorOption = "") -> None:
    """Let an ad as it is now into the placements."""
    _review(operator, number, ReviewState.APPROVED, "")


@operator_commands.command("refuse-ad")
def refuse_ad_command(number: AdNumber, reason: ReasonOption, operator: OperatorOption = "") -> None:
    """Keep an ad as it is now out of the placements."""
    _review(operator, number, ReviewState.REFUSED, reason)


def _review(operator: str, number: int, state: ReviewState, reason: str) -> None:
    with _marketplace(operator, f"{state.value} ad") as (tx, marketplace):
        reviews = operators_store.list_reviews(tx, marketplace.business_id)
        review = check_found(
            next((review for review in reviews if review.number == number), None), "Ad not found."
        )
        review = operators_actions.decide_review(tx, marketplace, review.ad_id, review.digest, state, reason)
    out.print(f"{review.name} of {review.business_name} is {state.value}.")


@operator_commands.command("balances")
def balances_command(plain: PlainOption = False, operator: OperatorOption = "") -> None:
    """Show what each ad account paid in, was charged and has left."""
    with _marketplace(operator) as (tx, marketplace):
        balances = operators_store.list_balances(tx, marketplace.business_id)
    if plain:
        for balance in balances:
            out.print(str(balance.number))
        return
    table = Table("ad account", "name", "currency", "paid in", "charged", "left", "credit")
    for balance in balances:
        amounts = _amounts_of(balance, balance.currency)
        table.add_row(str(balance.number), balance.name, balance.currency, *amounts)
    print_table(table)


def _amounts_of(balance: Balance, currency: str) -> list[str]:
    amounts = (balance.paid_in_micros, balance.charged_micros, balance.left_micros, balance.credit_micros)
    return [amount_written(amount, currency) for amount in amounts]


@operator_commands.command("pay")
def pay_operator_command(
    account_id: OperatorAccountId,
    amount: PaidAmount,
    note: Annotated[str, typer.Option(help="What the statement says of it.")] = "",
    operator: OperatorOption = "",
) -> None:
    """Note a payment of an ad account."""
    _change_operator_balance(
        operator,
        account_id,
        "pay",
        lambda tx, marketplace, account: operators_actions.pay_operator(
            tx, marketplace, account, _micros(amount), note
        ),
    )


@operator_commands.command("credit")
def credit_command(account_id: OperatorAccountId, amount: PaidAmount, operator: OperatorOption = "") -> None:
    """Say what an ad account may owe."""
    _change_operator_balance(
        operator,
        account_id,
        "credit",
        lambda tx, marketplace, account: operators_actions.set_balance_limit(
            tx, operators_actions.load_operator_balance(tx, marketplace, account), _micros(amount)
        ),
    )


def _change_operator_balance(
    operator: str, number: int, command: str, change: Callable[[Tx, Operator, str], Balance]
) -> None:
    with _marketplace(operator, command) as (tx, marketplace):
        balances = operators_store.list_balances(tx, marketplace.business_id)
        account_ids = {balance.number: balance.ad_account_id for balance in balances}
        if number not in account_ids:
            raise Refused(errors.NOT_FOUND, "No ad account with this id is in the marketplace.")
        balance = change(tx, marketplace, account_ids[number])
    amount_left = amount_written(balance.left_micros, balance.currency)
    credit = amount_written(balance.credit_micros, balance.currency)
    out.print(f"{balance.name} has {amount_left} {balance.currency}, and may owe {credit}.")


@operator_commands.command("statement")
def statement_command(operator: OperatorOption = "") -> None:
    """Print all payments and charges by day, placement and ad account, as CSV."""
    with _marketplace(operator) as (tx, marketplace):
        names = operators_actions.name_charged_groups(tx, marketplace)
        rows = operators_actions.operator_statement(tx, marketplace, names)
    csv.writer(sys.stdout).writerows(rows)


def _micros(text: str) -> int:
    try:
        return to_micros(text)
    except ValueError as error:
        raise Refused(errors.INVALID, "Enter the amount as a number.") from error


AccountId = Annotated[int, typer.Argument(help="Id of the ad account, as the list shows it.")]
Amount = Annotated[str, typer.Argument(help="Amount in units of the currency; a refund is below 0.")]
balance_commands = typer.Typer(
    no_args_is_help=True, help="The operator's commands for balances of ad accounts: show, pay in, limit."
)


@balance_commands.command("show")
def show_balances_command(business: BusinessOption = "") -> None:
    """Show what each ad account paid in, was charged and has left."""
    with business_transaction(business) as (tx, one_business):
        balances = [
            (ad_account, operators_store.find_balance(tx, one_business.id, ad_account.id))
            for ad_account in list_ad_accounts(tx, one_business.id)
        ]
    table = Table("ad account", "name", "currency", "paid in", "charged", "left", "credit", "mode")
    for account, balance in balances:
        mode = "limited" if balance.is_limited else "open"
        amounts = _amounts_of(balance, account.currency)
        table.add_row(str(account.number), account.name, account.currency, *amounts, mode)
    print_table(table)


@balance_commands.command("pay")
def pay_in_command(
    account_id: AccountId,
    amount: Amount,
    note: Annotated[str, typer.Option(help="What the statement says of it.")] = "",
    business: BusinessOption = "",
) -> None:
    """Note a payment. It sets no limit: see `limit`."""
    _change_balance(
        account_id,
        business,
        "pay",
        lambda tx, balance, timezone: operators_actions.pay_in(tx, balance, timezone, _micros(amount), note),
    )


@balance_commands.command("limit")
def limit_balance_command(
    account_id: AccountId,
    credit: Annotated[str, typer.Option(help="What the account may owe.")] = "0",
    is_open: Annotated[bool, typer.Option("--open", help="No limit but the budgets.")] = False,
    business: BusinessOption = "",
) -> None:
    """Charge an account no more than it paid in and may owe, or end that with --open."""
    _change_balance(
        account_id,
        business,
        "limit",
        lambda tx, balance, _: operators_actions.set_balance_limit(
            tx, balance, _micros(credit), is_limited=not is_open
        ),
    )


def _change_balance(
    number: int, business: str, command: str, work: Callable[[Tx, Balance, str], Balance]
) -> None:
    with business_transaction(business) as (tx, one_business):
        account = check_found(
            find_ad_account(tx, one_business.id, number=number), "No ad account has this id."
        )
        before = operators_store.find_balance(tx, one_business.id, account.id)
        balance = work(tx, before, account.timezone)
        record_command(tx, one_business, f"balance {command}", f"ad account {number}")
    amount_left = f"{amount_written(balance.left_micros, account.currency)} {account.currency}"
    says = "is limited to it and its credit" if balance.is_limited else "is not limited to it"
    out.print(f"{account.name} has {amount_left}, and {says}.")
