"""Pages of audiences: their uses, customer lists and lookalikes."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import phonenumbers
from fastapi import Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, load_advertiser, may, page_routes
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ads.actions.campaigns import load_ad_account
from contatto.ads.actions.edits import delete_unused_audiences, load_uses
from contatto.ads.pages.forms import field_errors
from contatto.audiences import actions, rules, store
from contatto.audiences.model import Audience, AudienceKind, ListKind, LookalikeSize
from contatto.audiences.rules import span_of
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.kit.ids import new_id
from contatto.kit.languages import sorted_countries
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

router: Final = page_routes()
COUNTRIES: Final = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
MOST_FAULTS: Final = 100
"""Wrong lines that are shown; the others are counted."""
WRONG: Final = 422


class _ListForm(BaseModel):
    """Form of a customer list; ``once`` is its idempotency key, ``leave_out`` skips wrong lines."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    once: Annotated[str, Field(max_length=64)] = ""
    advertiser_id: Annotated[str, Field(max_length=20)] = ""
    name: Annotated[str, Field(max_length=500)] = ""
    kind: ListKind = ListKind.EMAIL
    country: Annotated[str, Field(max_length=2)] = ""
    text: Annotated[str, Field(max_length=1_000_000)] = ""
    leave_out: bool = False


class _LookalikeForm(BaseModel):
    """Form of a lookalike; ``once`` is its idempotency key."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    once: Annotated[str, Field(max_length=64)] = ""
    name: Annotated[str, Field(max_length=500)] = ""
    source: Annotated[str, Field(max_length=20)] = ""
    size: LookalikeSize = LookalikeSize.BALANCED


@router.page("/ads/audiences", Permission.READ_ADS, "ads/audiences.html")
def show_audiences(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    """Show the audiences of every ad account, with their sizes, states and uses."""
    rows = []
    for account in accounts.list_ad_accounts(tx, caller.business_id):
        audiences = store.list_audiences(tx, account.business_id, account.id)
        ids = {audience.id for audience in audiences}
        sizes = store.count_members(tx, account.business_id, ids)
        results = store.list_lookalikes(tx, account.business_id, ids)
        uses_by_number = load_uses(tx, account)
        names = {audience.number: audience.name for audience in audiences}
        for audience in audiences:
            uses, result = uses_by_number[audience.number], results.get(audience.id)
            size = sizes.get(audience.id, 0)
            state, state_kind, why = rules.state_of(audience, size)
            row = {
                "number": str(audience.number),
                "name": audience.name,
                "source": rules.source_text(audience),
                "like": names.get(rules.source_number(audience) or 0, ""),
                "size": None if audience.kind is AudienceKind.RULE else size,
                "state": state,
                "state_kind": state_kind,
                "why": why,
                "included": [(str(group.number), group.name) for group in uses.included],
                "excluded": [(str(group.number), group.name) for group in uses.excluded],
                "lookalikes": [(str(lookalike.number), lookalike.name) for lookalike in uses.lookalikes],
                "is_used": bool(uses.included or uses.excluded or uses.lookalikes),
                "changed_at": audience.updated_at,
                "account_name": account.name,
                "lift": result.lift if result else None,
                "span": span_of(result),
                "known": result.known if result else 0,
            }
            rows.append(row)
    can_edit = may(caller, Permission.WRITE_ADS)
    return {"rows": rows, "can_edit": can_edit}


@router.post("/ads/audiences", Permission.WRITE_ADS)
async def post_list(request: Request, caller: FormCaller, sent: Annotated[_ListForm, Form()]) -> Response:
    """Make an audience from a list's fingerprints; show wrong lines, unless ``leave_out`` skips them."""
    try:
        country = sent.country if sent.country in COUNTRIES else ""
        read_list = partial(rules.read_customers, sent.text, sent.kind, country)
        customers = await context_of(request).db.run_aside(read_list)
        faults = customers.faults
        if faults and not (sent.leave_out and customers.digests):
            return await show_list_form.show(request, caller, status=WRONG, typed=sent, faults=faults)
        db = context_of(request).db
        make_fingerprints = partial(actions.blind_digests, db.vault, caller.business_id, customers.digests)
        fingerprints = await db.run_aside(make_fingerprints)
        advertiser_id = number_of(sent.advertiser_id)
        list_hash = hashlib.sha256(" ".join(customers.digests).encode()).hexdigest()
        key = IdempotencyKey(caller.business_id, "ads/audiences", sent.once)
        body = f"{advertiser_id} {sent.name} {list_hash}"

        def make(tx: Tx) -> dict[str, str]:
            account = load_advertiser(tx, caller, advertiser_id)
            file = actions.upload_file(tx, account, sent.kind.value, fingerprints)
            new = actions.NewAudience(sent.name, calculate_type=sent.kind.value)
            customer_list = actions.create_audience(tx, account, new, [file.path])
            return {"custom_audience_id": str(customer_list.number), "id": customer_list.id}

        outcome = await db.write(lambda tx: answer_once(tx, key, body, dict[str, str], partial(make, tx)))
        await actions.finish_changes(db, caller.business_id, [outcome["id"]])
    except Refused as refused:
        if refused.code is errors.NO_ADVERTISER:
            raise
        wrong = field_errors(refused, translator_of(request))
        return await show_list_form.show(request, caller, status=WRONG, typed=sent, wrong=wrong)
    return RedirectResponse("/ads/audiences", 303)


@router.page("/ads/audiences/new", Permission.WRITE_ADS, "ads/audience_new.html")
def show_list_form(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    typed: _ListForm | None = None,
    wrong: Mapping[str, str] | None = None,
    faults: Sequence[rules.LineFault] = (),
) -> dict[str, Any]:
    """Show the form with the entered values; wrong lines by their numbers, without their text."""
    channel_accounts = list_accounts(tx, caller.business_id)
    country = channel_accounts[0].registration_country if channel_accounts else ""
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    return {
        "form": typed or _ListForm(once=new_id(), country=country),
        "errors": wrong or {},
        "faults": faults[:MOST_FAULTS],
        "fault_count": len(faults),
        "ad_accounts": [(str(account.number), account.name) for account in ad_accounts],
        "countries": sorted_countries(translator_of(request), COUNTRIES),
    }


@router.post("/ads/audiences/lookalikes", Permission.WRITE_ADS)
async def post_lookalike(
    request: Request, caller: FormCaller, sent: Annotated[_LookalikeForm, Form()]
) -> Response:
    """Make a lookalike of another audience."""
    key = IdempotencyKey(caller.business_id, "ads/audiences/lookalikes", sent.once)

    def make(tx: Tx) -> dict[str, str]:
        account, source = _find_audience(tx, caller, number_of(sent.source))
        lookalike = actions.create_lookalike_of(tx, account, sent.name, source, sent.size)
        return {"custom_audience_id": str(lookalike.number)}

    try:
        body = f"{number_of(sent.source)} {sent.name} {sent.size}"
        await context_of(request).db.write(
            lambda tx: answer_once(tx, key, body, dict[str, str], partial(make, tx))
        )
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        wrong = field_errors(refused, translator_of(request))
        form: dict[str, Any] = {"source": sent.source, "typed": sent, "wrong": wrong}
        return await show_lookalike_form.show(request, caller, status=WRONG, **form)
    return RedirectResponse("/ads/audiences", 303)


@router.page("/ads/audiences/lookalikes/new", Permission.WRITE_ADS, "ads/lookalike_new.html")
def show_lookalike_form(
    tx: Tx,
    request: Request,
    caller: Caller,
    source: str = "",
    *,
    typed: _LookalikeForm | None = None,
    wrong: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    form = typed or _LookalikeForm(once=new_id(), source=source[:20])
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    audiences = [
        audience
        for account in ad_accounts
        for audience in store.list_audiences(tx, caller.business_id, account.id)
    ]
    return {
        "form": form,
        "errors": wrong or {},
        "sources": [
            (str(audience.number), audience.name)
            for audience in audiences
            if audience.kind is not AudienceKind.LOOKALIKE
        ],
    }


@router.post("/ads/audiences/{number}/delete", Permission.WRITE_ADS)
async def delete_one_audience(request: Request, caller: FormCaller, number: str) -> RedirectResponse:
    """Delete an audience that nothing uses."""
    db, audience_number = context_of(request).db, number_of(number)
    deleted = await db.write(
        lambda tx: delete_unused_audiences(
            tx, _find_audience(tx, caller, audience_number)[0], [audience_number]
        )
    )
    await actions.finish_changes(db, caller.business_id, deleted)
    return RedirectResponse("/ads/audiences", 303)


def _find_audience(tx: Tx, caller: Caller, number: int) -> tuple[AdAccount, Audience]:
    """Return an audience of the business with its ad account."""
    audience = check_found(store.find_audience(tx, caller.business_id, number=number))
    return load_ad_account(tx, caller.business_id, audience.ad_account_id), audience
