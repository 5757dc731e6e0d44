"""Marketplaces: open one, its placements, who takes part, the review of their ads, what they pay."""

import csv
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts.model import Role
from contatto.accounts.store import find_business
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.numbers import amount_written, to_micros
from contatto.kit.settings import Settings
from contatto.operators import actions as operators_actions
from contatto.operators import store as operators_store
from contatto.operators.model import (
    Admission,
    AdmissionState,
    AdReview,
    Category,
    Operator,
    OperatorBalance,
    Placement,
    ReviewState,
)
from contatto.people.actions import invitation_path, invite_member

At = Annotated[
    str, typer.Option("--operator", help="Name or id of the marketplace; needed when there are several.")
]
Why = Annotated[str, typer.Option(help="The reason, which the business reads.")]
Who = Annotated[str, typer.Argument(help="Name or id of the business.")]
AccountId = Annotated[int, typer.Argument(help="Id of the ad account, as `balances` shows it.")]
Amount = Annotated[str, typer.Argument(help="Amount in units of the currency; one paid back is below 0.")]
Categories = Annotated[list[Category], typer.Option("--category", help="One that is taken; else all are.")]
Plain = Annotated[bool, typer.Option("--plain", help="The ids alone, one a line, for a script.")]
commands = typer.Typer(no_args_is_help=True, help=__doc__)


def _find_operator(tx: Tx, wanted: str) -> Operator:
    """The operator that is meant: by its name or id, or the only one.

    Raises:
        Refused: NOT_FOUND.
    """
    operators = operators_store.list_operators(tx)
    found = [operator for operator in operators if wanted in ("", operator.business_id, operator.name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in operators) or "none yet; run contatto operator add"
        raise Refused(errors.NOT_FOUND, "--operator: use one of %(names)s.", names=names)
    return found[0]


def _act[T](operator: str, command: str, work: Callable[[Tx, Operator], T]) -> T:
    def follow(tx: Tx) -> T:
        of = _find_operator(tx, operator)
        result = work(tx, of)
        _record(tx, of, command)
        return result

    return carry_out(follow)


def _record(tx: Tx, of: Operator, command: str) -> None:
    tenant = find_business(tx, of.business_id)  # type: ignore[arg-type]  # an id of a tenant as a plain text
    if tenant is not None:
        record_command(tx, tenant, f"operator {command}")


@commands.command("add")
def add_command(
    name: Annotated[str, typer.Argument(help="Name of the marketplace.")],
    email: Annotated[str, typer.Option(help="E-mail of who runs it.")],
    timezone: Annotated[str, typer.Option(help="Time zone of its days, an IANA name.")] = "UTC",
    unlisted: Annotated[bool, typer.Option(help="Let in only who has a code.")] = False,
) -> None:
    """Open a marketplace, and print the link by which its owner comes in."""

    def work(tx: Tx) -> str:
        if name in [each.name for each in operators_store.list_operators(tx)]:
            raise Refused(errors.INVALID, "name: another marketplace has this name.")
        operator = operators_actions.open_operator(tx, name, timezone, is_listed=not unlisted)
        invitation = invite_member(tx, operator.business_id, email, Role.OWNER)  # type: ignore[arg-type]  # as above
        _record(tx, operator, "add")
        return Settings().link_address + invitation_path(tx, invitation, invitation.email)

    out.print(carry_out(work), soft_wrap=True)


@commands.command("list")
def list_command() -> None:
    """Show the marketplaces of this installation."""
    table = Table("id", "name", "time zone", "open to all")
    for each in carry_out(operators_store.list_operators):
        table.add_row(each.business_id, each.name, each.timezone, "yes" if each.is_listed else "no")
    print_table(table)


@commands.command("placement")
def placement_command(
    name: Annotated[str, typer.Argument(help="Name of the placement; a known one is changed.")],
    currency: Annotated[str, typer.Option(help="Currency of its prices, such as SGD.")] = "",
    floor: Annotated[str, typer.Option(help="Least price of a thousand views.")] = "1",
    category: Categories = [],  # noqa: B006  # typer copies it
    block: Annotated[list[str], typer.Option(help="A business that is never shown here.")] = [],  # noqa: B006
    most_views: Annotated[int, typer.Option(help="Ads a person sees here a day; 0 for no limit.")] = 0,
    off: Annotated[bool, typer.Option("--off", help="Show nothing here for now.")] = False,
    operator: At = "",
) -> None:
    """Add a placement, or set the rules of one."""

    def work(tx: Tx, of: Operator) -> str:
        known = next(
            (each for each in operators_store.list_placements(tx, of.business_id) if each.name == name), None
        )
        blocked = tuple(_find_admission(tx, of, each).business_id for each in block)
        placement = Placement(
            known.id if known else "", of.business_id, name, currency or (known.currency if known else ""),
            _micros(floor), tuple(category), blocked, most_views, not off, tx.now,
        )  # fmt: skip
        if known is None:
            return operators_actions.add_placement(tx, of, placement).id
        operators_actions.change_placement(tx, of, placement)
        return known.id

    out.print(_act(operator, "placement", work))


@commands.command("placements")
def placements_command(operator: At = "") -> None:
    """Show the placements and their rules."""

    def work(tx: Tx) -> list[Placement]:
        return operators_store.list_placements(tx, _find_operator(tx, operator).business_id)

    table = Table("id", "name", "floor", "categories", "blocked", "a day", "state")
    for each in carry_out(work):
        floor = f"{amount_written(each.floor_micros, each.currency)} {each.currency}"
        taken = ", ".join(each.categories) or "all"
        state = "on" if each.is_on else "off"
        views = str(each.most_views or "any")
        table.add_row(each.id, each.name, floor, taken, str(len(each.blocked)), views, state)
    print_table(table)


@commands.command("code")
def code_command(operator: At = "") -> None:
    """Print a code that lets one business in at once; it is good for fourteen days and shown this once."""
    out.print(_act(operator, "code", operators_actions.make_code), soft_wrap=True)


@commands.command("join")
def join_command(
    category: Annotated[Category, typer.Option(help="What the business advertises.")],
    code: Annotated[str, typer.Option(help="A code of the marketplace; else it decides.")] = "",
    operator: At = "",
    business: Of = "",
) -> None:
    """Let a business ask a marketplace to take part, or join it by a code."""

    def work(tx: Tx) -> Admission:
        of = find_one_business(tx, business)
        if code:
            admission = operators_actions.join_by_code(tx, code, of, category)
        else:
            admission = operators_actions.ask_admission(
                tx, _find_operator(tx, operator).business_id, of, category
            )
        if admission.state is AdmissionState.ADMITTED:
            operators_actions.send_ads(tx, admission)
        record_command(tx, of, "operator join")
        return admission

    made = carry_out(work)
    out.print(f"{made.business_name} at {made.operator_name}: {made.state.value}.")


def _find_admission(tx: Tx, of: Operator, wanted: str) -> Admission:
    """Raises NOT_FOUND for a business that never asked."""
    admissions = operators_store.list_admissions(tx, of.business_id)
    found = [
        admission for admission in admissions if wanted in (admission.business_id, admission.business_name)
    ]
    if len(found) != 1:
        names = ", ".join(each.business_name for each in admissions) or "none yet"
        raise Refused(errors.NOT_FOUND, "Use one of the businesses that applied: %(names)s.", names=names)
    return found[0]


@commands.command("businesses")
def businesses_command(operator: At = "") -> None:
    """Show who takes part, and who wants to."""

    def work(tx: Tx) -> list[Admission]:
        return operators_store.list_admissions(tx, _find_operator(tx, operator).business_id)

    table = Table("id", "name", "category", "state", "asked on", "reason")
    for each in carry_out(work):
        asked = f"{each.asked_at:%Y-%m-%d}"
        row = (each.business_id, each.business_name, each.category.value, each.state.value)
        table.add_row(*row, asked, each.reason)
    print_table(table)


@commands.command("admit")
def admit_command(business: Who, operator: At = "") -> None:
    """Let a business take part; its ads come to the review."""
    _decide(operator, business, AdmissionState.ADMITTED, "")


@commands.command("refuse")
def refuse_command(business: Who, reason: Why, operator: At = "") -> None:
    """Do not let a business take part."""
    _decide(operator, business, AdmissionState.REFUSED, reason)


@commands.command("suspend")
def suspend_command(business: Who, reason: Why, operator: At = "") -> None:
    """Let a business take part no more until it is admitted again."""
    _decide(operator, business, AdmissionState.SUSPENDED, reason)


def _decide(operator: str, business: str, state: AdmissionState, reason: str) -> None:
    def work(tx: Tx, of: Operator) -> Admission:
        admission = _find_admission(tx, of, business)
        decided = operators_actions.decide_admission(tx, of, admission.business_id, state, reason)
        if state is AdmissionState.ADMITTED:
            operators_actions.send_ads(tx, decided)
        return decided

    decided = _act(operator, state.value, work)
    out.print(f"{decided.business_name} is {decided.state.value}.")


@commands.command("ads")
def ads_command(
    state: Annotated[ReviewState, typer.Option(help="Which ones.")] = ReviewState.PENDING,
    plain: Plain = False,
    operator: At = "",
) -> None:
    """Show the ads that wait for the review, or those that went through it."""

    def work(tx: Tx) -> list[AdReview]:
        return operators_store.list_reviews(tx, _find_operator(tx, operator).business_id, state)

    found = carry_out(work)
    if plain:
        _print_ids(each.number for each in found)
        return
    table = Table("ad", "business", "headline", "text", "sent on", "reason")
    for each in found:
        sent = f"{each.sent_at:%Y-%m-%d}"
        table.add_row(str(each.number), each.business_name, each.headline, each.text, sent, each.reason)
    print_table(table)


Number = Annotated[int, typer.Argument(help="The ad, as `ads` shows it.")]


@commands.command("approve-ad")
def approve_command(number: Number, operator: At = "") -> None:
    """Let an ad as it is now into the placements."""
    _review(operator, number, ReviewState.APPROVED, "")


@commands.command("refuse-ad")
def refuse_ad_command(number: Number, reason: Why, operator: At = "") -> None:
    """Keep an ad as it is now out of the placements."""
    _review(operator, number, ReviewState.REFUSED, reason)


def _review(operator: str, number: int, state: ReviewState, reason: str) -> None:
    def work(tx: Tx, of: Operator) -> AdReview:
        latest = [
            review for review in operators_store.list_reviews(tx, of.business_id) if review.number == number
        ]
        if not latest:
            raise Refused(errors.NOT_FOUND, "Ad not found.")
        return operators_actions.decide_review(tx, of, latest[0].ad_id, latest[0].digest, state, reason)

    review = _act(operator, f"{state.value} ad", work)
    out.print(f"{review.name} of {review.business_name} is {state.value}.")


@commands.command("balances")
def balances_command(plain: Plain = False, operator: At = "") -> None:
    """Show what each ad account paid in, was charged and has left."""

    def work(tx: Tx) -> list[OperatorBalance]:
        return operators_store.list_balances(tx, _find_operator(tx, operator).business_id)

    found = carry_out(work)
    if plain:
        _print_ids(each.number for each in found)
        return
    table = Table("ad account", "name", "currency", "paid in", "charged", "left", "credit")
    for each in found:
        amounts = (each.paid_in_micros, each.charged_micros, each.left_micros, each.credit_micros)
        shown = [amount_written(amount, each.currency) for amount in amounts]
        table.add_row(str(each.number), each.name, each.currency, *shown)
    print_table(table)


@commands.command("pay")
def pay_command(
    account_id: AccountId,
    amount: Amount,
    note: Annotated[str, typer.Option(help="What the statement says of it.")] = "",
    operator: At = "",
) -> None:
    """Note a payment of an ad account."""

    def change(tx: Tx, of: Operator, account: str) -> OperatorBalance:
        return operators_actions.pay_operator(tx, of, account, _micros(amount), note)

    _change(operator, account_id, "pay", change)


@commands.command("credit")
def credit_command(account_id: AccountId, amount: Amount, operator: At = "") -> None:
    """Say what an ad account may owe."""

    def change(tx: Tx, of: Operator, account: str) -> OperatorBalance:
        return operators_actions.set_credit(tx, of, account, _micros(amount))

    _change(operator, account_id, "credit", change)


def _change(
    operator: str, number: int, what: str, change: Callable[[Tx, Operator, str], OperatorBalance]
) -> None:
    def work(tx: Tx, of: Operator) -> OperatorBalance:
        known = {
            balance.number: balance.ad_account_id
            for balance in operators_store.list_balances(tx, of.business_id)
        }
        if number not in known:
            raise Refused(errors.NOT_FOUND, "No ad account with this id is in the marketplace.")
        return change(tx, of, known[number])

    balance = _act(operator, what, work)
    left = amount_written(balance.left_micros, balance.currency)
    owed = amount_written(balance.credit_micros, balance.currency)
    out.print(f"{balance.name} has {left} {balance.currency}, and may owe {owed}.")


@commands.command("statement")
def statement_command(operator: At = "") -> None:
    """Print all payments and charges by day, placement and ad account, as CSV."""
    csv.writer(sys.stdout).writerows(carry_out(partial(_statement, operator)))


def _statement(operator: str, tx: Tx) -> list[list[str]]:
    own = _find_operator(tx, operator)
    return operators_actions.operator_statement(tx, own, operators_actions.name_charged_groups(tx, own))


def _print_ids(numbers: Iterable[int]) -> None:
    for number in numbers:
        out.print(str(number))


def _micros(text: str) -> int:
    try:
        return to_micros(text)
    except ValueError as error:
        raise Refused(errors.INVALID, "Enter the amount as a number.") from error
