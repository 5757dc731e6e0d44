"""Page of one lead, and the changes of it that members post."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import Depends, Form, Request
from pydantic import Field as Limits
from starlette.responses import RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, Unsent, may, page_routes
from contatto.accounts.model import BusinessId, Caller, Permission, ReadAudit
from contatto.accounts.store import list_able_members
from contatto.audit import AuditEntry, audit_entries, list_audit_entries
from contatto.capture.model import Field
from contatto.channels.store import find_account
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_
from contatto.kit.languages import Translator
from contatto.kit.values import brand_of, from_micros, is_unreadable
from contatto.leads.actions import annotations as actions
from contatto.leads.actions.records import change_lead_status, restore_lead, undo_lead_status
from contatto.leads.model import (
    STATUS_TEXTS,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadStatus,
    Note,
    Origin,
    Picks,
    RejectedContact,
    Task,
)
from contatto.leads.pages.center import PostedForm, actor_of, rows_of
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.store import listing, records
from contatto.leads.store.jobs import find_tombstone
from contatto.measurement import store as measurement
from contatto.measurement.actions import list_touches_known
from contatto.measurement.model import ConversionKind, TouchKind
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

SHOWN_VIEWS: Final = 200
"""Number of the latest views of a lead by members that the page shows; the audit log has all."""
CONSENT_LIMIT: Final = 160
"""Characters of a consent text that the page shows."""
_CONSENT_TEXTS: Final = {True: N_("Agreed to: %(text)s"), False: N_("Did not agree to: %(text)s")}
_VIEW_ACT: Final = "GET /leads/{lead_id}"
_MOST_REJECTED: Final = 5
"""Most rejected contacts that the page offers to restore."""


def status_change_text(step: HistoryEntry, words: Translator) -> str:
    """Return a change of status in the reader's language."""
    return rules.ARROW.join(
        words.gettext(STATUS_TEXTS[LeadStatus(status)]) for status in step.detail.split(rules.ARROW)
    )


router = page_routes()
_STEP_TEXTS: Final[Mapping[HistoryKind, str]] = {
    HistoryKind.CAPTURED: N_("Became a lead. Shared: %(detail)s"),
    HistoryKind.UPDATED: N_("Also shared: %(detail)s"),
    HistoryKind.MARKED: N_("Marked as a lead"),
    HistoryKind.REJECTED: N_("Not a contact detail: %(detail)s"),
    HistoryKind.REJECT_UNDONE: N_("Contact detail restored: %(detail)s"),
    HistoryKind.CONTACT_ADDED: N_("Contact detail added: %(detail)s"),
    HistoryKind.CONTACT_CHANGED: N_("Contact detail changed: %(detail)s"),
    HistoryKind.CONTACT_MAIN: N_("Main contact detail: %(detail)s"),
    HistoryKind.CONTACT_WRONG: N_("Marked as wrong: %(detail)s"),
    HistoryKind.CONTACT_RIGHT: N_("No longer marked as wrong: %(detail)s"),
    HistoryKind.STATUS: N_("Status: %(detail)s"),
    HistoryKind.STATUS_UNDONE: N_("Status change undone: %(detail)s"),
    HistoryKind.LABELLED: N_("Label added: %(detail)s"),
    HistoryKind.UNLABELLED: N_("Label removed: %(detail)s"),
    HistoryKind.OWNER: N_("Owner: %(detail)s"),
    HistoryKind.NOTE: N_("Added a note"),
    HistoryKind.TASK: N_("Added a task"),
    HistoryKind.TASK_DONE: N_("Completed a task"),
    HistoryKind.DELETED: N_("Deleted"),
    HistoryKind.RESTORED: N_("Restored"),
    HistoryKind.IMPORT_UNDONE: N_("Import undone"),
    HistoryKind.EXPORTED: N_("Exported with selected leads"),
    HistoryKind.CRM_EVENT: N_("The CRM reported: %(detail)s"),
}
_NO_OWNER: Final = N_("Owner: none")
_TOUCH_TEXTS: Final = {
    (TouchKind.CLICK, True): N_("Clicked the ad %(ad)s (%(ad_group)s)"),
    (TouchKind.CLICK, False): N_("Clicked an ad"),
    (TouchKind.VIEW, True): N_("Saw the ad %(ad)s (%(ad_group)s)"),
    (TouchKind.VIEW, False): N_("Saw an ad"),
}
"""By the kind of touch, and whether the ad is known."""
_FORM_TEXTS: Final = {
    True: N_("Sent the form %(form)s, version %(version)s, and gave consent"),
    False: N_("Sent the form %(form)s, version %(version)s"),
}
"""By whether the person agreed to anything; the submitted form shows to what."""
_REJECTS: Final = (HistoryKind.REJECTED, HistoryKind.REJECT_UNDONE)
_FIELD_NAMES: Final = {"phone": N_("Phone"), "email": N_("E-mail"), "name": N_("Name")}
"""The other fields are names of platforms."""


@router.get("/leads/{lead_id}", Permission.READ_LEADS, ReadAudit.EACH)
async def show_lead(
    request: Request, caller: PageCaller, lead_id: str, refused: Annotated[Refused | None, Unsent] = None
) -> Response:
    """Render the page of a lead, or of its tombstone; after a refused change with the reason."""
    context, words, ids = context_of(request), translator_of(request), (caller.business_id, lead_id)
    can_write, sees_views = may(caller, Permission.WRITE_LEADS), may(caller, Permission.ADMINISTER)
    lead = await context.db.read(lambda tx: records.find_lead(tx, *ids))
    if lead is None:
        rejected = await context.db.read(lambda tx: records.list_rejected(tx, *ids))
        if rejected:
            values = {"caller": caller, "rejected": rejected[0], "can_edit": can_write}
            return context.pages.render(request, "leads/gone.html", values)
        tombstone = check_found(await context.db.read(lambda tx: find_tombstone(tx, *ids)), "Lead not found.")
        values = {"caller": caller, "tombstone": tombstone}
        return context.pages.render(request, "leads/erased.html", values)
    if lead.merged_into:
        return RedirectResponse(f"/leads/{lead.merged_into}", 303)
    detail = await context.db.read(lambda tx: _detail(tx, lead, words, sees_views=sees_views))
    rights = {
        "caller": caller,
        "can_edit": can_write and lead.hidden_at is None,
        "can_restore": can_write,
        "can_erase": may(caller, Permission.ERASE_LEADS),
        "can_see_reports": may(caller, Permission.READ_REPORTS),
    }
    notice = split_fault(refused, words)[1] if refused else ""
    values = detail | rights | {"notice": notice}
    page = context.pages.render(request, "leads/detail.html", values, refused=refused)
    if refused is not None:
        page.headers["X-Message"] = quote(notice)
    return page


@router.form("/leads/{lead_id}/restore", Permission.WRITE_LEADS)
def post_restore(tx: Tx, request: Request, caller: Caller, lead_id: str) -> str:
    lead = check_found(records.find_lead(tx, caller.business_id, lead_id), "Lead not found.")
    if lead.hidden_at is not None and lead.merged_into is None:
        restore_lead(tx, lead, caller.display_name)
    return f"/leads/{lead_id}"


def _detail(tx: Tx, lead: Lead, words: Translator, *, sees_views: bool) -> dict[str, Any]:
    business_id = lead.business_id
    account = find_account(tx, business_id, lead.channel_account_id)
    points = listing.list_contact_points(tx, business_id, {lead.id})[lead.id]
    evidence = records.list_evidence_of_lead(tx, business_id, lead.id)
    credit = measurement.find_attribution(tx, business_id, lead.id, ConversionKind.LEAD)
    able_members = list_able_members(tx, BusinessId(business_id), Permission.READ_LEADS)
    assignees, owner_id = [(member.id, member.display_name) for member in able_members], lead.owner_id or ""
    owner = listing.list_member_names(tx, business_id).get(owner_id)
    merged = records.list_merged_leads(tx, business_id, lead.id)
    history = records.list_history(tx, business_id, lead.id)
    answer = tx.ports[LeadPorts].first_answer(tx, business_id, lead.conversation_id)
    lead_score = records.find_score(tx, business_id, lead.id)
    names: dict[str, str] = {
        source.id: rules.person_label(source.name, source.person_id) for source in merged
    }
    credits = listing.list_credits(tx, business_id, set(names))
    contact_points = []
    for index, point in enumerate(points):
        proofs = [item for item in evidence if item.contact_point_id == point.id]
        evidence_of_point = None
        if proofs and lead.conversation_id:
            proof = proofs[0]
            place = f"/inbox/{lead.conversation_id}#m-{proof.source_id}"
            href = f"#answer-{proof.source_id}" if proof.origin is Origin.FORM else place
            evidence_of_point = {
                "text": proof.raw, "rule": proof.rule, "confidence": proof.confidence, "href": href
            }  # fmt: skip
        has_links = not (lead.hidden_at or point.wrong_at or is_unreadable(point.value))
        contact_points.append({
            "id": point.id,
            "field": point.field.value,
            "value": point.value,
            "reach": rules.reach_of(point.field, point.value) if has_links else rules.ContactLinks(),
            "captured_at": point.created_at,
            "primary": index == 0 and point.wrong_at is None,
            "is_wrong": point.wrong_at is not None,
            "evidence": evidence_of_point,
            "origins": list(dict.fromkeys([point.origin.value, *(proof.origin.value for proof in proofs)])),
        })  # fmt: skip
    labels = listing.list_labels_of(tx, business_id, [lead.id])[lead.id]
    undos: list[tuple[str, HistoryEntry | RejectedContact, str, dict[str, str]]] = []
    step = rules.status_step_to_undo(history, lead.status, tx.now)
    if step is not None:
        text = words.gettext("Status: %(detail)s", detail=status_change_text(step, words))
        undos.append((text, step, "/status/undo", {"seen": lead.status.value}))
    removed = [step for step in history if step.what is HistoryKind.UNLABELLED and step.detail]
    if removed and tx.now - removed[-1].at <= rules.UNDO_WITHIN:
        last = removed[-1]
        if all(label.name != last.detail for label in labels):
            text = words.gettext("Label removed: %(detail)s", detail=last.detail)
            undos.append((text, last, "/labels", {"name": last.detail}))
    for rejected in records.list_rejected(tx, business_id, lead.id)[:_MOST_REJECTED]:
        text = words.gettext("Not a contact detail: %(detail)s", detail=rejected.point.value)
        undos.append((text, rejected, f"/rejected/{rejected.id}/undo", {}))
    attribution = None
    if credit and credit.ad_id and credit.touch_ts is not None and credit.via is not None:
        ad = measurement.find_measured_ad(tx, business_id, credit.ad_id)
        if ad is not None:
            window_s = ad.click_window_s if credit.via is TouchKind.CLICK else ad.view_window_s
            attribution = {
                "campaign_name": ad.campaign_name,
                "ad_group_name": ad.ad_group_name,
                "ad_name": ad.ad_name,
                "goal": ad.goal.value,
                "touch": credit.via.value,
                "touched_at": from_micros(credit.touch_ts),
                "converted_at": from_micros(credit.ts),
                "window_days": (window_s or 0) // 86_400,
            }
    return {
        "lead": {
            "id": lead.id,
            "name": rules.person_label(lead.name, lead.person_id),
            "status": lead.status.value,
            "source": lead.origin.value,
            "channel": account.platform.value if account else None,
            "account_name": account.name if account else None,
            "conversation_id": lead.conversation_id or None,
            "created_at": lead.created_at,
            "last_activity_at": lead.updated_at,
            "owner_id": lead.owner_id,
            "owner": owner,
            "is_deleted": lead.hidden_at is not None,
            "is_test": lead.is_test,
            "wrote_at": answer[0] if answer else None,
            "answer_s": int((answer[1] - answer[0]).total_seconds()) if answer and answer[1] else None,
        },
        "moves": [status.value for status in LeadStatus if status in rules.MOVES[lead.status]],
        "undos": [
            {"text": text, "at": change.at, "actor": change.actor, "path": path, "fields": fields}
            for text, change, path, fields in sorted(undos, key=lambda undo: undo[1].at, reverse=True)
        ],
        # the present owner can be chosen even without that permission
        "members": assignees if owner_id in dict(assignees) or not owner else [*assignees, (owner_id, owner)],
        "labels": labels,
        "known_labels": listing.list_labels(tx, business_id),
        "notes": records.list_work(tx, business_id, lead.id, Note)[::-1],
        "tasks": sorted(
            records.list_work(tx, business_id, lead.id, Task), key=lambda task: task.done_at is not None
        ),
        "today": tx.now.date(),
        "fields": [field.value for field in Field],
        "contact_points": contact_points,
        "attribution": attribution,
        "conversion_id": credit.conversion_id if credit else None,
        "timeline": _timeline(tx, lead, merged, history, words, sees_views=sees_views),
        "merges": [
            {
                "id": merge.id,
                "name": names[merge.merged_id],
                "actor": merge.actor,
                "at": merge.at,
                "reason": merge.reason,
                "credit": credits[merge.merged_id][1].ad_group_name if merge.merged_id in credits else None,
            }
            for merge in records.list_merges(tx, lead.business_id, lead.id)
            if merge.kept_id == lead.id and merge.undone_at is None and merge.merged_id in names
        ],
        "duplicates": [
            {"id": twin.id, "name": rules.person_label(twin.name, twin.person_id)}
            for twin in listing.list_twins(tx, business_id, lead.id)
        ],
        "score": lead_score.score if lead_score else None,
        "reasons": rules.explain_reasons(lead_score.reasons or ()) if lead_score else [],
    }


def _timeline(
    tx: Tx,
    lead: Lead,
    merged: list[Lead],
    history: list[HistoryEntry],
    words: Translator,
    *,
    sees_views: bool,
) -> list[dict[str, Any]]:
    """Return the lead's history and its persons' touches, newest first; with members' views if permitted."""
    events: list[dict[str, Any]] = []
    for step in history:
        detail = step.detail  # names and labels stay as they are; statuses and fields are translated
        if step.what in (HistoryKind.STATUS, HistoryKind.STATUS_UNDONE):
            detail = status_change_text(step, words)
        elif step.what in (HistoryKind.CAPTURED, HistoryKind.UPDATED, *_REJECTS):
            detail = ", ".join(
                words.gettext(_FIELD_NAMES[field]) if field in _FIELD_NAMES else brand_of(field)
                for field in step.detail.split(", ")
            )
        has_no_owner = step.what is HistoryKind.OWNER and not step.detail
        text = words.gettext(_NO_OWNER if has_no_owner else _STEP_TEXTS[step.what], detail=detail)
        at = lead.created_at if step.what in (HistoryKind.CAPTURED, HistoryKind.MARKED) else step.at
        events.append({"kind": step.what, "at": at, "text": text, "actor": step.actor or None})
    for merge in records.list_merges(tx, lead.business_id, lead.id):
        with_reason = words.gettext("Merged with another lead: %(reason)s", reason=merge.reason)
        text = with_reason if merge.reason else words.gettext("Merged with another lead")
        events.append({"kind": "merged", "at": merge.at, "text": text, "actor": merge.actor})
        if merge.undone_at is not None:
            undone = words.gettext("Merge undone")
            events.append(
                {"kind": "unmerged", "at": merge.undone_at, "text": undone, "actor": merge.undone_by}
            )
    for entry in listing.list_entries(tx, lead.business_id, lead.id):
        text = words.gettext(_FORM_TEXTS[entry.consented], form=entry.form_name, version=entry.version)
        events.append({"kind": "form", "at": entry.at, "text": text, "actor": None})
    for consent in tx.ports[LeadPorts].consents(tx, lead.business_id, lead.id):
        is_long = len(consent.text) > CONSENT_LIMIT
        shown = f"{consent.text[: CONSENT_LIMIT - 1]}…" if is_long else consent.text
        text = words.gettext(_CONSENT_TEXTS[consent.given], text=shown)
        events.append({"kind": "consent", "at": consent.at, "text": text, "actor": None})
    # one event per member and day with views, at the last one, as an open page reloads often
    is_view = audit_entries.c.act == _VIEW_ACT, audit_entries.c.object == f"lead_id={lead.id}"
    acts = list[AuditEntry]()
    if sees_views:
        acts = list_audit_entries(tx, lead.business_id, (0, SHOWN_VIEWS), *is_view)
    views_by_day: dict[tuple[str, object], list[AuditEntry]] = defaultdict(list)
    for act in acts:
        views_by_day[act.actor_id, act.at.date()].append(act)
    for views in views_by_day.values():
        last = max(views, key=lambda act: act.seq)
        text = words.ngettext("Viewed this lead", "Viewed this lead %(num)s times on this day", len(views))
        events.append({"kind": "look", "at": last.at, "text": text, "actor": last.actor})
    touches = [
        touch
        for shown_lead in (lead, *merged)
        for touch in list_touches_known(tx, lead.business_id, shown_lead.person_id, 50)
    ]
    ads = measurement.list_measured_ads(tx, lead.business_id, {touch.ad_id for touch in touches})
    for touch in touches:
        ad = ads.get(touch.ad_id)
        names = {"ad": ad.ad_name, "ad_group": ad.ad_group_name} if ad else {}
        text = words.gettext(_TOUCH_TEXTS[touch.kind, ad is not None], **names)
        events.append({"kind": touch.kind.value, "at": from_micros(touch.ts), "text": text, "actor": None})
    return sorted(events, key=lambda event: event["at"], reverse=True)


class LeadForm:
    """A posted change of a lead by a member."""

    def __init__(self, request: Request, caller: FormCaller, lead_id: str) -> None:
        self.request, self.caller, self.lead_id, self.actor = request, caller, lead_id, actor_of(caller)

    async def change(self, change: Callable[[Tx], object]) -> Response:
        """Change the lead, and go back to it. A refused change is answered on its page, with the reason."""
        try:
            await context_of(self.request).db.write(change)
        except Refused as refused:
            return await show_lead(
                self.request, self.caller, self.lead_id, refused.expect(errors.CONFLICT, errors.INVALID)
            )
        return RedirectResponse(f"/leads/{self.lead_id}", 303)


type PostedLead = Annotated[LeadForm, Depends()]


@router.post("/leads/{lead_id}/status", Permission.WRITE_LEADS)
async def post_status(
    posted: PostedLead,
    status: Annotated[LeadStatus, Form()],
    seen_status: Annotated[LeadStatus, Form(alias="seen")],
) -> Response:
    business_id, actor = posted.actor.business_id, posted.actor.name
    return await posted.change(
        lambda tx: change_lead_status(tx, business_id, posted.lead_id, seen_status, status, actor)
    )


@router.post("/leads/{lead_id}/status/undo", Permission.WRITE_LEADS)
async def post_status_undo(
    posted: PostedLead, seen_status: Annotated[LeadStatus, Form(alias="seen")]
) -> Response:
    business_id, actor = posted.actor.business_id, posted.actor.name
    return await posted.change(
        lambda tx: undo_lead_status(tx, business_id, posted.lead_id, seen_status, actor)
    )


class _PointForm(PostedForm):
    """Change of a contact point, unless its value is no longer ``seen_value``."""

    do: actions.PointChange = "save"
    value: str = Limits("", max_length=400)
    seen_value: str = Limits("", max_length=400, alias="seen")


@router.post("/leads/{lead_id}/points", Permission.WRITE_LEADS)
async def post_point(
    posted: PostedLead, field: Annotated[Field, Form()], value: Annotated[str, Form(max_length=400)] = ""
) -> Response:
    return await posted.change(
        lambda tx: actions.add_contact_point(tx, posted.actor, posted.lead_id, field, value)
    )


@router.post("/leads/{lead_id}/points/{point_id}", Permission.WRITE_LEADS)
async def post_point_change(
    posted: PostedLead, point_id: str, sent: Annotated[_PointForm, Form()]
) -> Response:
    seen_point = point_id, sent.seen_value
    return await posted.change(
        lambda tx: actions.change_contact_point(
            tx, posted.actor, posted.lead_id, seen_point, sent.do, sent.value
        )
    )


@router.post("/leads/{lead_id}/points/{point_id}/reject", Permission.WRITE_LEADS)
async def post_reject(posted: PostedLead, point_id: str) -> Response:
    """Reject a contact point; with its last one, delete a lead that has no other origin."""
    business_id, actor = posted.caller.business_id, posted.caller.display_name
    return await posted.change(
        lambda tx: actions.reject_contact_point(tx, business_id, posted.lead_id, point_id, actor)
    )


@router.post("/leads/{lead_id}/rejected/{rejected_id}/undo", Permission.WRITE_LEADS)
async def post_reject_undo(posted: PostedLead, rejected_id: str) -> Response:
    return await posted.change(
        lambda tx: actions.put_back_contact(tx, posted.actor, posted.lead_id, rejected_id)
    )


_TEXT_LIMIT: Final = 4 * rules.NOTE_LIMIT


class _OwnerForm(PostedForm):
    owner: str = Limits("", max_length=36)
    seen_owner: str = Limits("", max_length=36, alias="seen")


class _NoteForm(PostedForm):
    text: str = Limits("", max_length=_TEXT_LIMIT)
    seen_revision: int = Limits(0, ge=0, le=1_000_000_000, alias="seen")


class _TaskForm(_NoteForm):
    due_on: str = Limits("", max_length=20)


class _WorkForm(_TaskForm):
    do: actions.WorkChange = "save"


@router.post("/leads/{lead_id}/owner", Permission.WRITE_LEADS)
async def post_owner(posted: PostedLead, sent: Annotated[_OwnerForm, Form()]) -> Response:
    return await posted.change(
        lambda tx: actions.assign_lead(
            tx, posted.actor, posted.lead_id, sent.seen_owner or None, sent.owner or None
        )
    )


@router.post("/leads/{lead_id}/labels", Permission.WRITE_LEADS)
async def post_label(posted: PostedLead, name: Annotated[str, Form(max_length=200)]) -> Response:
    return await posted.change(lambda tx: actions.label_lead(tx, posted.actor, posted.lead_id, name))


@router.post("/leads/{lead_id}/labels/{label_id}/remove", Permission.WRITE_LEADS)
async def post_unlabel(posted: PostedLead, label_id: str) -> Response:
    return await posted.change(lambda tx: actions.unlabel_lead(tx, posted.actor, posted.lead_id, label_id))


@router.post("/leads/{lead_id}/notes", Permission.WRITE_LEADS)
async def post_note(posted: PostedLead, sent: Annotated[_NoteForm, Form()]) -> Response:
    return await posted.change(lambda tx: actions.add_note(tx, posted.actor, posted.lead_id, sent.text))


@router.post("/leads/{lead_id}/notes/{note_id}", Permission.WRITE_LEADS)
async def post_note_change(posted: PostedLead, note_id: str, sent: Annotated[_WorkForm, Form()]) -> Response:
    seen_note = posted.lead_id, note_id, sent.seen_revision
    do: actions.WorkChange = "delete" if sent.do == "delete" else "save"
    return await posted.change(
        lambda tx: actions.change_work(
            tx, posted.actor, actions.load_work(tx, posted.actor, *seen_note, Note), do, sent.text
        )
    )


@router.post("/leads/{lead_id}/tasks", Permission.WRITE_LEADS)
async def post_task(posted: PostedLead, sent: Annotated[_TaskForm, Form()]) -> Response:
    due_on = rules.read_day(sent.due_on)
    return await posted.change(
        lambda tx: actions.add_task(tx, posted.actor, posted.lead_id, sent.text, due_on)
    )


@router.post("/leads/{lead_id}/tasks/{task_id}", Permission.WRITE_LEADS)
async def post_task_change(posted: PostedLead, task_id: str, sent: Annotated[_WorkForm, Form()]) -> Response:
    seen_task, typed = (posted.lead_id, task_id, sent.seen_revision), (sent.text, sent.due_on)
    return await posted.change(
        lambda tx: actions.change_work(
            tx, posted.actor, actions.load_work(tx, posted.actor, *seen_task, Task), sent.do, *typed
        )
    )


type Side = Literal["one", "two"]


class _MergeForm(PostedForm):
    keep: Side
    name: Side
    status: Side
    owner: Side
    reason: str = Limits("", max_length=1_000)


@router.page("/leads/{lead_id}/merge/{other_id}", Permission.WRITE_LEADS, "leads/merge.html", ReadAudit.EACH)
def show_merge(tx: Tx, request: Request, caller: Caller, lead_id: str, other_id: str) -> dict[str, Any]:
    leads = list[Lead]()
    for requested_id in (lead_id, other_id):
        lead = records.find_lead(tx, caller.business_id, requested_id)
        if lead is None or lead.hidden_at is not None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        leads.append(lead)
    if lead_id == other_id:
        raise Refused(errors.INVALID, "Choose two different leads.")
    equal = records.list_equal_points(tx, caller.business_id, lead_id, other_id)
    sides = rows_of(tx, caller.business_id, leads)
    moves = []
    for lead in leads:
        rows = records.list_row_ids(tx, lead.business_id, lead.id)
        moves.append({
            "details": len(rows["contact_points"]) - len(equal),
            "notes": len(rows["lead_notes"]),
            "tasks": len(rows["lead_tasks"]),
            "steps": len(rows["lead_history"]),
        })  # fmt: skip
    return {"sides": sides, "moves": moves, "equal": len(equal)}


@router.form("/leads/{lead_id}/merge/{other_id}", Permission.WRITE_LEADS)
def post_merge(
    tx: Tx,
    request: Request,
    caller: Caller,
    lead_id: str,
    other_id: str,
    sent: Annotated[_MergeForm, Form()],
) -> str:
    target_id, source_id = (lead_id, other_id) if sent.keep == "one" else (other_id, lead_id)
    picks = Picks(*(picked != sent.keep for picked in (sent.name, sent.status, sent.owner)))
    actions.merge_leads(tx, actor_of(caller), target_id, source_id, picks, sent.reason)
    return f"/leads/{target_id}"


@router.form("/leads/{lead_id}/merges/{merge_id}/undo", Permission.WRITE_LEADS)
def post_unmerge(tx: Tx, request: Request, caller: Caller, lead_id: str, merge_id: str) -> str:
    merge = records.find_merge(tx, caller.business_id, merge_id)
    if merge is None or lead_id not in (merge.kept_id, merge.merged_id):
        raise Refused(errors.NOT_FOUND, "Merge not found.")
    actions.undo_merge(tx, actor_of(caller), merge_id)
    return f"/leads/{lead_id}"
