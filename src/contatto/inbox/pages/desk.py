"""Inbox in three panes, live updates, changes by members, saved replies, settings, and the navigation."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Form, Query, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller, may, page_routes, require
from contatto.accounts.model import Access, Caller, Credential, MemberId, Permission, ReadAudit
from contatto.accounts.rules import is_able
from contatto.accounts.store import list_members, list_session_rights
from contatto.channels.store import CONNECTORS, list_accounts
from contatto.inbox import rules
from contatto.inbox.actions import threads
from contatto.inbox.actions.replies import cancel_scheduled, retry_reply, schedule_reply, send_reply
from contatto.inbox.actions.threads import FoundConversations, SeenConversation
from contatto.inbox.model import Conversation, MemberTyping, Message, ThreadState
from contatto.inbox.pages.thread import thread_part
from contatto.inbox.store import conversations, messages
from contatto.inbox.store import desk as store
from contatto.kit import errors
from contatto.kit.api_types import json_answer
from contatto.kit.db.database import CachedCounts, CountReader
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import read_whole, split_fault
from contatto.kit.i18n import N_
from contatto.kit.ids import hash_secret, named_id, new_id
from contatto.kit.values import Revision, check_year, from_micros, instant_of, micros
from contatto.leads.model import Actor, LeadStatus
from contatto.leads.rules.records import person_label
from contatto.leads.store import listing
from contatto.leads.store.listing import list_labels, load_lead_counts
from contatto.measurement import store as measurement_store
from contatto.spam.model import Mark, Sign
from contatto.spam.store import list_verdicts
from contatto.ui.live import Reader, resume_point, sse_answer
from contatto.ui.render import session_token, translator_of
from contatto.ui.requests import context_of, part_of

router = page_routes()
SIGNS: Final = {
    Sign.WORDS: N_("The text resembles chats that were marked as spam."),
    Sign.PERSON: N_("Another chat of this person was marked as spam."),
    Sign.TAPS: N_("This person clicks ads unusually often."),
    Sign.ACCOUNT: N_("This account receives a lot of spam."),
}
"""Reasons why a conversation may be spam."""
TABS: Final = ("mine", "mentions", "unassigned", "all", "waiting", "late")
_COUNTED_TABS: Final = tuple(tab for tab in TABS if tab != "mentions")
STATES: Final = tuple(state.value for state in ThreadState)
PAGE: Final = 50
"""Conversations of one page of the list."""
_LARGEST: Final = 10**16 - 1


def _read_digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else None


class View(BaseModel):
    """View of the inbox: tab, search, and page, as the address names them; invalid values are ignored.

    Attributes:
        show: state of the listed conversations.
        before: time before which the page of the list, or of an open thread, ends.
        past: sequence number before which a search reads messages.
    """

    tab: Annotated[str, AfterValidator(lambda tab: tab if tab in TABS else "all")] = "all"
    show: Annotated[ThreadState, BeforeValidator(lambda show: show if show in STATES else "open")] = (
        ThreadState.OPEN
    )
    q: Annotated[str, AfterValidator(lambda text: text[:100])] = ""
    past: Annotated[Annotated[int, Field(ge=0, le=_LARGEST)] | None, BeforeValidator(_read_digits)] = None
    before: Annotated[
        datetime | None, BeforeValidator(lambda text: (at := _read_digits(text)) and from_micros(at))
    ] = None


LIST_PANE: Final = "inbox/_list.html"
THREAD_PANE: Final = "inbox/_thread.html"
CONTACT_PANE: Final = "inbox/_contact.html"


def inbox_values(
    tx: Tx, caller: Caller, template: str, view: View, selected: str | None, cached_counts: CountReader
) -> dict[str, Any]:
    """Return the values of a template: of all three panes, the list, the thread, or the contact."""
    business_id = caller.business_id
    if template in (THREAD_PANE, CONTACT_PANE):
        chosen = conversations.find_conversation(tx, business_id, selected) if selected else None
        if chosen is None:
            return {"selected": None}
        desk = _Desk(tx, caller, [chosen], store.find_reply_target(tx, business_id))
        if template == CONTACT_PANE:
            return {"selected": chosen, "contact": desk.contact(chosen)}
        replies = store.list_saved_replies(tx, business_id)
        return {"selected": chosen, "thread": desk.thread(chosen, view.before), "saved_replies": replies}
    matches = FoundConversations(frozenset())
    if view.q.strip():
        matches = threads.search_conversations(tx, business_id, view.q, before=view.past)
    conversation_ids = matches.ids if view.q.strip() else None
    target = store.find_reply_target(tx, business_id)
    late_before = tx.now - target if target else None
    conversation_filter = store.ConversationFilter(
        view.tab, conversation_ids, view.show, caller.subject_id, late_before
    )
    list_before = None if selected else view.before
    matching_conversations = store.list_conversations(tx, business_id, conversation_filter, PAGE, list_before)
    chosen = conversations.find_conversation(tx, business_id, selected) if selected else None
    desk = _Desk(tx, caller, [*matching_conversations, chosen] if chosen else matching_conversations, target)
    opened = None if template == LIST_PANE else chosen
    count = partial(store.count_tabs, tx, business_id, conversation_filter, _COUNTED_TABS)
    cache_key = ("tabs", business_id, caller.subject_id, view.show)
    counts = cached_counts.find(cache_key, count) if conversation_ids is None else count()
    query = {"tab": view.tab, "show": view.show.value, "q": view.q}
    query |= {} if view.past is None else {"past": str(view.past)}
    older = None
    if len(matching_conversations) == PAGE and matching_conversations[-1].last_message_at:
        older = "/inbox?" + urlencode(query | {"before": micros(matching_conversations[-1].last_message_at)})
    return {
        "tab": view.tab,
        "show": view.show.value,
        "q": view.q,
        "counts": dict(counts) | {"mentions": len(desk.mentioned)},
        "has_target": target is not None,
        "conversations": [desk.row(conversation) for conversation in matching_conversations],
        "next_href": older,
        "query": query,
        "searched_to": matches.oldest_at,
        "search_href": f"/inbox?{urlencode(query | {'past': str(matches.next_before)})}"
        if matches.next_before is not None
        else None,
        "selected": desk.row(chosen) if chosen else None,
        "thread": desk.thread(opened, view.before) if opened else None,
        "contact": desk.contact(opened) if opened else None,
        "saved_replies": store.list_saved_replies(tx, business_id) if opened else [],
    }


MOST_HITS: Final = 8


def list_search_hits(tx: Tx, caller: Caller, words: str) -> list[dict[str, str]]:
    """Search conversations for the command palette; return link, name and snippet of each."""
    conversation_ids = threads.search_conversations(tx, caller.business_id, words).ids
    conversation_filter = store.ConversationFilter(ids=conversation_ids, member_id=caller.subject_id)
    matching_conversations = (
        store.list_conversations(tx, caller.business_id, conversation_filter, MOST_HITS)
        if conversation_ids
        else []
    )
    rows = map(_Desk(tx, caller, matching_conversations, None).row, matching_conversations)
    return [
        {"href": f"/inbox/{row['id']}", "title": row["person_name"], "hint": row["snippet"]} for row in rows
    ]


class _Desk:
    """Template values of some conversations, from a few queries for all of them together."""

    def __init__(self, tx: Tx, caller: Caller, shown: list[Conversation], target: timedelta | None) -> None:
        self.target = target
        self.mentioned = store.list_unseen_mentions(tx, caller.business_id, caller.subject_id)
        self.tx = tx
        self.caller = caller
        self.business_id = business_id = caller.business_id
        ids = {conversation.id for conversation in shown}
        self.accounts = {account.id: account for account in list_accounts(tx, business_id)}
        self.persons = conversations.list_persons(
            tx, business_id, {conversation.person_id for conversation in shown}
        )
        self.last = messages.list_last_messages(tx, business_id, ids)
        self.attributions = measurement_store.list_attributions(tx, business_id, ids)
        ad_ids = {attribution.ad_id for attribution in self.attributions.values() if attribution.ad_id}
        self.ads = measurement_store.list_measured_ads(tx, business_id, ad_ids)
        members = list_members(tx, caller.business_id)
        self.members = {member.id: member.display_name for member in members}
        self.assignable_members = [
            (member.id, member.display_name) for member in members if is_able(member, Permission.READ_INBOX)
        ]
        self.labels = list_labels(tx, business_id)
        self.labelled = store.list_label_ids(tx, business_id, ids)
        lead_ids = {conversation.lead_id for conversation in shown if conversation.lead_id}
        self.leads = listing.list_leads_by_id(tx, business_id, lead_ids)
        self.opening_ads = {
            conversation_id: self.ads[attribution.ad_id]
            for conversation_id, attribution in self.attributions.items()
            if attribution.ad_id and attribution.ad_id in self.ads
        }
        self.names: dict[str, str] = {}
        for conversation in shown:
            lead, person = self.leads.get(conversation.lead_id or ""), self.persons[conversation.person_id]
            self.names[conversation.id] = person_label((lead.name if lead else "") or person.name, person.id)

    def row(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        last = self.last.get(conversation.id)
        ad = self.opening_ads.get(conversation.id)
        lead = self.leads.get(conversation.lead_id or "")
        return row_of(conversation) | {
            "person_name": self.names[conversation.id],
            "channel": account.platform.value,
            "account_name": account.name,
            "ad_name": ad.ad_name if ad else None,
            "snippet": rules.snippet(last.text) if last else "",
            "snippet_kind": last.kind.value if last else "text",
            "snippet_from": last.sender.value if last else "customer",
            "lead_status": lead.status.value if lead else None,
            "assignee": self.members.get(MemberId(conversation.assignee_id or "")),
            "answer_by": conversation.waiting_since + self.target
            if conversation.waiting_since and self.target
            else None,
            "is_mentioned": conversation.id in self.mentioned,
            "labels": [label for label in self.labels if label.id in self.labelled[conversation.id]],
        }

    def thread(self, conversation: Conversation, before: datetime | None) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        verdict = list_verdicts(self.tx, self.business_id, [conversation.id]).get(conversation.id)
        return {
            **thread_part(self.tx, account, conversation, before),
            "conversation": self.row(conversation),
            "members": self.assignable_members,
            "me": self.caller.subject_id,
            "known_labels": self.labels,
            "can_act": may(self.caller, Permission.WRITE_INBOX),
            "signs": [SIGNS[Sign(sign)] for sign in verdict.signs]
            if verdict and verdict.is_suspicious
            else [],
            "is_marked_spam": verdict is not None and verdict.mark is Mark.SPAM,
        }

    def contact(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        dialect = CONNECTORS[account.platform].dialect
        person = self.persons[conversation.person_id]
        lead = self.leads.get(conversation.lead_id or "")
        points = listing.list_contact_points(self.tx, self.business_id, {lead.id})[lead.id] if lead else []
        shown_lead = lead and {
            "id": lead.id,
            "status": lead.status.value,
            "source": lead.origin.value,
            "created_at": lead.created_at,
        }
        ad, attribution = self.opening_ads.get(conversation.id), self.attributions.get(conversation.id)
        first_ad: dict[str, Any] | None = None
        if ad and attribution and attribution.touch_ts is not None:
            tapped_at = from_micros(attribution.touch_ts)
            names = {"ad_group_name": ad.ad_group_name, "campaign_name": ad.campaign_name}
            first_ad = {"at": tapped_at, "ad_name": ad.ad_name, "goal": ad.goal.value, **names}
        return {
            "conversation_id": conversation.id,
            "person_name": self.names[conversation.id],
            "external_id": None if dialect.ids_are_contacts else person.external_id,
            "channel": account.platform.value,
            "account_name": account.name,
            "first_seen_at": person.created_at,
            "lead": shown_lead,
            "contact_points": [
                {"field": point.field.value, "value": point.value, "origin": point.origin.value}
                for point in points
            ],
            "first_ad": first_ad,
        }


async def render_inbox(
    request: Request, caller: Caller, template: str, view: View, selected: str | None, *, strict: bool = False
) -> HTMLResponse:
    """Render one of the inbox's templates; with ``strict`` an unknown conversation is refused."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)
    cached_counts = part_of(request, CachedCounts).begin()
    values = await context.db.read(
        lambda tx: inbox_values(tx, caller, template, view, selected, cached_counts)
    )
    if strict and values["selected"] is None:
        raise Refused(errors.NOT_FOUND, "Conversation not found.")
    return context.pages.render(request, template, values | {"caller": caller})


@router.get("/live", Access(Credential.MEMBER))
async def follow_live(request: Request, caller: PageCaller) -> StreamingResponse:
    # The stream ends with the session of the request.
    reader = Reader(hash_secret(session_token(request)), list_session_rights)
    stream = context_of(request).live.write_stream(caller.business_id, resume_point(request), reader)
    return sse_answer(stream)


@router.page("/nav", Access(Credential.MEMBER), "ui/nav.html")
def show_nav(tx: Tx, request: Request, caller: Caller, section: str = "") -> dict[str, Any]:
    cached_counts = part_of(request, CachedCounts).begin()
    counts: dict[str, int] = {}
    if may(caller, Permission.READ_INBOX):
        unread = store.ConversationFilter("unread")
        counts["inbox"] = store.count_conversations(tx, caller.business_id, unread)
    if may(caller, Permission.READ_LEADS):
        counts["leads"] = load_lead_counts(tx, caller.business_id, cached_counts).get(LeadStatus.RAW, 0)
    return {"section": section, "nav_counts": counts}


type ViewQuery = Annotated[View, Query()]


@router.get("/inbox", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_inbox(request: Request, caller: PageCaller, view: ViewQuery) -> HTMLResponse:
    return await render_inbox(request, caller, "inbox/inbox.html", view, None)


@router.get("/inbox/list", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_list(
    request: Request, caller: PageCaller, view: ViewQuery, selected: str = ""
) -> HTMLResponse:
    return await render_inbox(request, caller, LIST_PANE, view, selected or None)


@router.get("/inbox/search", Permission.READ_INBOX, ReadAudit.FOLDED)
async def find_in_inbox(
    request: Request, caller: PageCaller, q: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    results = await context_of(request).db.read(lambda tx: list_search_hits(tx, caller, q))
    return json_answer({"found": results})


@router.get("/inbox/{conversation_id}", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_conversation(
    request: Request, caller: PageCaller, conversation_id: str, view: ViewQuery
) -> HTMLResponse:
    return await render_inbox(request, caller, "inbox/inbox.html", view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/thread", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_thread(
    request: Request, caller: PageCaller, conversation_id: str, view: ViewQuery
) -> HTMLResponse:
    return await render_inbox(request, caller, THREAD_PANE, view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/contact", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_contact(request: Request, caller: PageCaller, conversation_id: str) -> HTMLResponse:
    return await render_inbox(request, caller, CONTACT_PANE, View(), conversation_id, strict=True)


@router.page("/settings/replies", Permission.READ_INBOX, "inbox/saved.html")
def show_saved_replies(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    shortcut: str = "",
    text: str = "",
    refused: Refused | None = None,
) -> dict[str, Any]:
    return {
        "replies": store.list_saved_replies(tx, caller.business_id),
        "can_write": may(caller, Permission.WRITE_INBOX),
        "errors": dict([split_fault(refused, translator_of(request))]) if refused else {},
        "typed": {"shortcut": shortcut, "text": text},
    }


@router.form("/settings/replies", Permission.WRITE_INBOX, show_saved_replies, errors.INVALID)
def post_saved_reply(
    tx: Tx,
    request: Request,
    caller: Caller,
    shortcut: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
) -> str:
    threads.keep_saved_reply(tx, caller.business_id, shortcut, text)
    return "/settings/replies"


@router.form("/settings/replies/{reply_id}/remove", Permission.WRITE_INBOX)
def post_remove_saved_reply(tx: Tx, request: Request, caller: Caller, reply_id: str) -> str:
    threads.remove_saved_reply(tx, caller.business_id, reply_id)
    return "/settings/replies"


class ThreadForm:
    """A posted change of a conversation, by a member who may write in the inbox."""

    def __init__(self, request: Request, caller: FormCaller, conversation_id: str) -> None:
        self.request, self.caller, self.conversation_id = request, caller, conversation_id
        self.actor = Actor(caller.business_id, caller.subject_id, caller.display_name)

    def named_id(self, client_id: str, prefix: str = "") -> str:
        """Derive an id from the page's ``client_id``, so that a repeated request changes nothing."""
        is_uuid = len(self.conversation_id) == 36 and self.conversation_id.replace("-", "").isalnum()
        return named_id(self.conversation_id, f"{prefix}{client_id}") if client_id and is_uuid else new_id()

    async def change(self, change: Callable[[Tx], object]) -> Response:
        await context_of(self.request).db.write(change)
        if not self.request.headers.get("hx-request"):
            return RedirectResponse(f"/inbox/{self.conversation_id}", 303)
        pane = THREAD_PANE, View(), self.conversation_id
        return await render_inbox(self.request, self.caller, *pane, strict=True)


type PostedThread = Annotated[ThreadForm, Depends()]
type SeenRevision = Annotated[Revision, Form()]
"""Revision of the conversation that the member saw; a change of another one is refused."""


@router.post("/inbox/{conversation_id}/messages", Permission.WRITE_INBOX)
async def post_reply(
    thread: PostedThread, text: Annotated[str, Form()] = "", client_message_id: Annotated[str, Form()] = ""
) -> Response:
    def reply(tx: Tx) -> Message:
        message_id, author = thread.named_id(client_message_id), thread.actor.name
        message = Message.of_business(message_id, thread.conversation_id, text.strip(), tx.now, author)
        return send_reply(tx, thread.actor.business_id, thread.conversation_id, message)

    return await thread.change(reply)


@router.post("/inbox/{conversation_id}/messages/{message_id}/retry", Permission.WRITE_INBOX)
async def post_retry(thread: PostedThread, message_id: str) -> Response:
    business_id, conversation_id = thread.caller.business_id, thread.conversation_id
    return await thread.change(lambda tx: retry_reply(tx, business_id, conversation_id, message_id))


@router.post("/inbox/{conversation_id}/lead", Permission.WRITE_LEADS)
async def post_mark_as_lead(thread: PostedThread) -> Response:
    business_id, actor = thread.actor.business_id, thread.actor.name
    return await thread.change(
        lambda tx: threads.mark_conversation_as_lead(tx, business_id, thread.conversation_id, actor)
    )


@router.post("/inbox/{conversation_id}/read", Permission.WRITE_INBOX)
async def post_read(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    await context_of(request).db.write(
        lambda tx: threads.note_conversation_read(tx, caller.business_id, conversation_id, caller.subject_id)
    )
    return Response(status_code=204)


@router.post("/inbox/{conversation_id}/typing", Permission.WRITE_INBOX)
async def post_typing(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    """Show the customer and other members that this member types; nothing is stored."""
    context = context_of(request)
    ids = caller.business_id, conversation_id
    check_found(await context.db.read(lambda tx: conversations.find_conversation(tx, *ids)))
    typing = MemberTyping(*ids, caller.subject_id, caller.display_name)
    context.live.broadcast_transient(caller.business_id, typing)
    return Response(status_code=204)


@router.post("/inbox/{conversation_id}/assign", Permission.WRITE_INBOX)
async def post_assign(
    thread: PostedThread, revision: SeenRevision, member_id: Annotated[str, Form()] = ""
) -> Response:
    expected = SeenConversation(thread.conversation_id, revision)
    return await thread.change(
        lambda tx: threads.assign_conversation(tx, thread.actor, expected, member_id or None)
    )


@router.post("/inbox/{conversation_id}/snooze", Permission.WRITE_INBOX)
async def post_snooze(
    thread: PostedThread, revision: SeenRevision, span: Annotated[str, Form()] = ""
) -> Response:
    expected = SeenConversation(thread.conversation_id, revision)
    return await thread.change(
        lambda tx: threads.set_thread_state(tx, thread.actor, expected, ThreadState.SNOOZED, span)
    )


@router.post("/inbox/{conversation_id}/resolve", Permission.WRITE_INBOX)
async def post_resolve(thread: PostedThread, revision: SeenRevision) -> Response:
    expected = SeenConversation(thread.conversation_id, revision)
    return await thread.change(
        lambda tx: threads.set_thread_state(tx, thread.actor, expected, ThreadState.RESOLVED)
    )


@router.post("/inbox/{conversation_id}/reopen", Permission.WRITE_INBOX)
async def post_reopen(thread: PostedThread, revision: SeenRevision) -> Response:
    expected = SeenConversation(thread.conversation_id, revision)
    return await thread.change(
        lambda tx: threads.set_thread_state(tx, thread.actor, expected, ThreadState.OPEN)
    )


@router.post("/inbox/{conversation_id}/block", Permission.WRITE_INBOX)
async def post_block(
    thread: PostedThread, revision: SeenRevision, spam: Annotated[str, Form()] = "0"
) -> Response:
    is_spam, expected = spam == "1", SeenConversation(thread.conversation_id, revision)
    if is_spam:
        require(thread.caller, Permission.WRITE_LEADS)
    return await thread.change(lambda tx: threads.block_person(tx, thread.actor, expected, is_spam=is_spam))


@router.post("/inbox/{conversation_id}/unblock", Permission.WRITE_INBOX)
async def post_unblock(thread: PostedThread, fine: Annotated[str, Form()] = "0") -> Response:
    return await thread.change(
        lambda tx: threads.unblock_person(tx, thread.actor, thread.conversation_id, is_fine=fine == "1")
    )


@router.post("/inbox/{conversation_id}/labels", Permission.WRITE_INBOX)
async def post_label(thread: PostedThread, name: Annotated[str, Form()] = "") -> Response:
    return await thread.change(
        lambda tx: threads.label_conversation(tx, thread.actor, thread.conversation_id, name)
    )


@router.post("/inbox/{conversation_id}/labels/{label_id}/remove", Permission.WRITE_INBOX)
async def post_unlabel(thread: PostedThread, label_id: str) -> Response:
    return await thread.change(
        lambda tx: threads.unlabel_conversation(tx, thread.actor, thread.conversation_id, label_id)
    )


@router.post("/inbox/{conversation_id}/notes", Permission.WRITE_INBOX)
async def post_private_note(
    thread: PostedThread,
    text: Annotated[str, Form()] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    note_id = thread.named_id(client_message_id, "note:")
    return await thread.change(
        lambda tx: threads.add_private_note(tx, thread.actor, thread.conversation_id, note_id, text)
    )


@router.post("/inbox/{conversation_id}/scheduled", Permission.WRITE_INBOX)
async def post_scheduled(
    thread: PostedThread,
    text: Annotated[str, Form()] = "",
    at: Annotated[str, Form(max_length=40)] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    check_year("at", at)
    due_at = instant_of(at)  # without a zone: UTC
    if due_at is None:
        raise Refused(errors.INVALID, "at: choose a day and a time.")
    reply_id = thread.named_id(client_message_id, "later:")
    return await thread.change(
        lambda tx: schedule_reply(tx, thread.actor, thread.conversation_id, reply_id, text, due_at)
    )


@router.post("/inbox/{conversation_id}/scheduled/{reply_id}/cancel", Permission.WRITE_INBOX)
async def post_cancel_scheduled(thread: PostedThread, reply_id: str) -> Response:
    business_id, conversation_id = thread.caller.business_id, thread.conversation_id
    return await thread.change(lambda tx: cancel_scheduled(tx, business_id, conversation_id, reply_id))


@router.page("/settings/inbox", Permission.READ_INBOX, "inbox/settings.html")
def show_inbox_settings(
    tx: Tx, request: Request, caller: Caller, *, minutes: str | None = None
) -> dict[str, Any]:
    """Show the settings; after a refusal with the entered minutes."""
    target = store.find_reply_target(tx, caller.business_id)
    saved_minutes = int(target.total_seconds() // 60) if target else ""
    return {
        "minutes": saved_minutes if minutes is None else minutes,
        "most": rules.TARGET_LIMIT_MIN,
        "can_manage": may(caller, Permission.ADMINISTER),
    }


@router.form("/settings/inbox", Permission.ADMINISTER, show_inbox_settings, errors.INVALID)
def post_inbox_settings(
    tx: Tx, request: Request, caller: Caller, minutes: Annotated[str, Form(max_length=40)] = ""
) -> str:
    target = read_whole("minutes", minutes, translator_of(request).lang) or 0
    threads.set_reply_target(tx, caller.business_id, target)
    return "/settings/inbox"
