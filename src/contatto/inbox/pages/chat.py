"""Chat page of a customer: forms, photos, form links, and settings of automatic messages."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from fastapi import Form, Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import DirectRoute, FormCaller, PageCaller, may, page_routes
from contatto.accounts.model import Access, Caller, Credential, Permission, ReadAudit
from contatto.capture import store as capture_store
from contatto.channels.connectors.webchat import WebchatDelivery
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import (
    CONNECTORS,
    AccountBatcher,
    find_account,
    list_embed_origins,
    list_public_accounts,
)
from contatto.forms.actions import Unanswered, choose_form, find_published
from contatto.forms.model import NOBODY, FormVerdict, FormVersion, Prefill, Submission
from contatto.forms.rules import answers
from contatto.forms.rules.views import picture_path, show_sheet
from contatto.forms.store import list_bookings
from contatto.inbox import model, rules
from contatto.inbox.actions import forms, incoming
from contatto.inbox.actions.replies import keep_automatic, send_reply
from contatto.inbox.auth import ChatLimits, admit_newcomer, admit_sender, chat_visitor
from contatto.inbox.pages.desk import PostedThread
from contatto.inbox.rules import FormLink, with_ad
from contatto.inbox.store.conversations import APPEND_RECEIPT, find_conversation, receipt_row
from contatto.inbox.store.desk import load_automatic
from contatto.inbox.store.messages import find_message, photos
from contatto.kit import errors
from contatto.kit.api_types import json_answer, read_body
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_
from contatto.kit.languages import LANGUAGES, translator_for
from contatto.kit.rate_limits import client_network
from contatto.kit.uploads import picture_answer
from contatto.kit.values import JSON_ERRORS, Revision, micros, read_number
from contatto.ui import render
from contatto.ui.requests import CSP, Context, context_of, part_of

OPENING_KEY: Final = "form-opening"
"""Purpose of the vault's signer of opening times."""
_LONGEST_LANGUAGE: Final = 16
_PLACEHOLDERS: Final = render.Placeholders("opening", "base")


@dataclass(frozen=True, slots=True)
class SheetReader:
    """Reader of a form.

    Attributes:
        account: account of the form.
        visitor: public id of a visitor, or the conversation of a form link.
        prefill: known details of the reader; none for a link, which may be passed on.
        base: path that the form posts to; empty for the form of the chat page.
    """

    account: ChannelAccount
    visitor: str
    prefill: Prefill = NOBODY
    base: str = ""


@dataclass(frozen=True, slots=True)
class FormHtml:
    """A rendered form with its headline and language."""

    headline: str
    html: Markup
    language: str
    dir: str


def render_form(request: Request, version: FormVersion, reader: SheetReader, language: str = "") -> FormHtml:
    """Render a form in this language, or in one that the reader's browser accepts."""
    context = context_of(request)
    accepted = answers.accepted_languages(request.headers.get("accept-language", ""))
    languages = (
        [language[:_LONGEST_LANGUAGE]] if language else [render.translator_of(request).lang, *accepted]
    )
    chosen, at = answers.best_language(version.content, languages), context.clock.now()
    signer = context.vault.signer(OPENING_KEY)
    opening = answers.sign_opening(version.number, reader.visitor, int(at.timestamp()), signer)
    html = fill_sheet(part_of(request, render.FragmentCache), version, reader, chosen, opening, at)
    headline = answers.text_of(version.content, "headline", chosen)
    return FormHtml(headline, html, chosen, translator_for(chosen).dir)


def fill_sheet(
    cache: render.FragmentCache,
    version: FormVersion,
    reader: SheetReader,
    language: str,
    opening: str,
    at: datetime,
) -> Markup:
    """Return the HTML of a form in one of its languages; ``opening`` is the signed opening time.

    It is cached unless it shows details of its reader. A version never changes, and appointment slots start
    on whole minutes.
    """
    account, prefill, questions = reader.account, reader.prefill, version.content.questions

    def render_sheet() -> str:
        marks = _PLACEHOLDERS.marks
        sheet = show_sheet(version.content, language, version.number, marks["opening"], at, prefill)
        values = {
            "account": {"id": account.id, "display_name": account.name},
            "form": sheet | {"image": picture_path(version.business_id, version.content.image)},
            "base": marks["base"],
            "preview": False,
        }
        return render.draw("forms/_sheet.html", values, translator_for(language))

    if any(question.prefill and prefill.details.get(question.kind) for question in questions):
        html = render_sheet()
    else:
        minute = int(at.timestamp()) // 60 if any(question.hours for question in questions) else 0
        key = (
            version.business_id, version.id, account.id, account.name, language, prefill.is_back, minute,
            prefill.bookings,
        )  # fmt: skip
        html = cache.find(key, render_sheet)
    return _PLACEHOLDERS.fill(html, {"opening": opening, "base": reader.base or f"/chat/{account.id}/form"})


router = page_routes()


@router.get("/chat/{account_id}", Access(Credential.ANYBODY))
async def show_chat(request: Request, account_id: str) -> HTMLResponse:
    """Show the customer's page. It is public: each visitor gets an identity at this account."""
    context = context_of(request)
    signer = context.vault.signer(render.VISITOR_KEY)
    secret = render.read_visitor(request, account_id, signer) or render.new_visitor()
    person = render.public_id(secret, account_id, context.vault.derivation_key(render.VISITOR_KEY))
    values, form = await context.db.read(lambda tx: _chat_values(tx, account_id, person))
    values["form"] = render_form(request, *form) if form else None
    response = context.pages.render(request, "inbox/chat.html", values)
    # Sign it anew each time: after a key rotation visitors get a cookie of the newest key.
    render.set_visitor(response, secret, account_id, signer, context.pages.cookies)
    return response


@router.get("/chat/{account_id}/embed", Access(Credential.ANYBODY))
async def show_embedded_chat(request: Request, account_id: str, v: str = "") -> Response:
    """Show the chat page inside an allowed site; a token in its address names the visitor."""
    context = context_of(request)
    if request.headers.get("sec-fetch-dest") == "document":  # somebody else's token must not come by a link
        return RedirectResponse(f"/chat/{quote(account_id)}", 303)
    no_site = N_("No other site may show this chat.")
    account = check_found(await part_of(request, AccountBatcher).submit(account_id), no_site)
    sites = await context.db.read(lambda tx: list_embed_origins(tx, account.business_id))
    origins = check_found(sites.get(account.id) or None, no_site)
    signer = context.vault.signer(render.VISITOR_KEY)
    secret = render.open_visitor(v, account_id, render.Carrier.FRAME, signer)
    if secret is None:
        fresh = render.sign_visitor(render.new_visitor(), account_id, render.Carrier.FRAME, signer)
        values: dict[str, Any] = {"account_id": account_id, "fresh": fresh}
        response = context.pages.render(request, "inbox/embed.html", values)
    else:
        person = render.public_id(secret, account_id, context.vault.derivation_key(render.VISITOR_KEY))
        values, form = await context.db.read(lambda tx: _chat_values(tx, account_id, person))
        values |= {"form": render_form(request, *form) if form else None, "visitor_token": v}
        response = context.pages.render(request, "inbox/chat.html", values)
    response.headers["Content-Security-Policy"] = CSP.replace(
        "frame-ancestors 'none'", f"frame-ancestors {' '.join(origins)}"
    )
    return response


def _chat_values(
    tx: Tx, account_id: str, visitor: str
) -> tuple[dict[str, Any], tuple[FormVersion, SheetReader] | None]:
    """Return the values of the chat page, and its form with the visitor as reader."""
    (account,) = list_public_accounts(tx, [account_id])
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat not found.")
    switch = capture_store.find_switch(tx, account.business_id, account.id)
    policy = switch.privacy_policy_url if switch else ""
    ad = incoming.find_tapped_ad(tx, account.business_id, incoming.person_id_of(tx.vault, account, visitor))
    version = choose_form(tx, account.business_id, account.id, ad.page_id if ad else "")
    form = None
    if version:
        opening = forms.Opening(account, visitor, version.number)
        prefill = forms.list_prefills(tx, account.business_id, {opening: version})[opening]
        form = version, SheetReader(account, visitor, prefill)
    automatic = with_ad(load_automatic(tx, account.business_id, account.id)[0].active, ad)
    values = {
        "account": {"id": account.id, "display_name": account.name, "handle": account.handle or None},
        "ad": {"headline": ad.headline, "body": ad.text or None, "label": None}
        if ad and ad.headline
        else None,
        "welcome": automatic.welcome or None,
        "questions": [question.ask for question in automatic.questions],
        "visitor_token": None,
        "prompts": [(prompt.ask, prompt.say) for prompt in automatic.prompts],
        "privacy_policy_url": policy if policy.startswith("https://") else None,
    }
    return values, form


_BODY_LIMIT: Final = 32 * 1024
_MOST_ANSWERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SentForm(Submission):
    """Body of a submission; ``opening`` is the signed time at which the form was opened."""

    page_id: str
    opening: str


_DECODER: Final = msgspec.json.Decoder(SentForm)


async def show_form(request: Request) -> HTMLResponse:
    """Return the sheet alone, in another language."""
    account, visitor = await chat_visitor(request)
    number = check_found(read_number(request.path_params["page_id"]), "Form not found.")
    opened = check_found(
        await part_of(request, forms.OpeningBatcher).submit(forms.Opening(account, visitor, number)),
        "Form not found.",
    )
    version, prefill = opened
    reader = SheetReader(account, visitor, prefill)
    return HTMLResponse(
        render_form(request, version, reader, request.query_params.get("lang", "")).html,
        headers=render.NO_STORE,
    )


async def post_form(request: Request) -> Response:
    """Accept a customer's submission; a repeated ``submission_id`` gets the same answer."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    sent = await read_sent(request)
    now_s = context.clock.now().timestamp()
    part_of(request, ChatLimits).forms.check(f"{account.id}:{visitor}", now_s)
    admit_sender(request, account)
    number = check_found(read_number(sent.page_id), "Form not found.")
    submission = forms.HandedIn(
        account.business_id,
        number,
        incoming.conversation_id_of(account, visitor),
        sent,
        forms.ChatVisitor(account, visitor, client_network(request)),
    )
    return await answer_form(request, sent, submission, visitor)


async def answer_form(request: Request, sent: SentForm, submission: forms.HandedIn, visitor: str) -> Response:
    """Hand in a submission, and answer: accepted, or the problem of each answer."""
    context = context_of(request)
    signer, now_s = context.vault.signer(OPENING_KEY), context.clock.now().timestamp()
    try:
        answers.check_opening(sent.opening, submission.number, visitor, now_s, signer)
    except Refused as misopened:  # the opening time is forged, or too recent
        submission = replace(submission, misopened=misopened)
    try:
        answer = await part_of(request, forms.FormBatcher).submit(submission)
    except Unanswered as unanswered:
        words = translator_for(sent.language) if sent.language in LANGUAGES else render.translator_of(request)
        problems = {problem.at: problem.in_language(words) for problem in unanswered.problems}
        message = words.gettext("Some answers need a correction.")
        is_stale = any(problem.says == answers.SLOT_TAKEN for problem in unanswered.problems)
        body = {"code": "unanswered", "message": message, "problems": problems, "stale": is_stale}
        return json_answer(body, 422)
    # A program that filled in the trap gets the same response as a person.
    verdict = "no_fit" if answer.verdict is FormVerdict.NO_FIT else "taken"
    return json_answer({"accepted": True, "verdict": verdict})


async def read_sent(request: Request) -> SentForm:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(errors.UNREADABLE, "Send JSON.")
    raw = await read_body(request, _BODY_LIMIT)
    try:
        sent = _DECODER.decode(raw)
    except JSON_ERRORS as error:
        raise Refused(errors.UNREADABLE, "Send the form from its own page.") from error
    if not (8 <= len(sent.submission_id) <= 64 and sent.submission_id.isprintable()):
        raise Refused(errors.INVALID, "submission_id: use 8 to 64 printable characters.")
    if len(sent.answers) > _MOST_ANSWERS:
        raise Refused(errors.INVALID, "answers: use at most %(most)s.", most=_MOST_ANSWERS)
    return replace(sent, consents=sent.consents[:20])


routes = [
    DirectRoute("GET", "/chat/{account_id}/form/{page_id}", show_form, Access(Credential.VISITOR)),
    DirectRoute("POST", "/chat/{account_id}/form", post_form, Access(Credential.VISITOR)),
]


async def show_photo(request: Request, business_id: str, conversation_id: str, message_id: str) -> Response:
    """Return the picture of a message of this conversation. Raises Refused: NOT_FOUND."""
    db = context_of(request).db
    message = await db.read(lambda tx: find_message(tx, business_id, message_id))
    digest = message.photo if message and message.conversation_id == conversation_id else None
    photo = await db.read(lambda tx: photos.find(tx, business_id, digest)) if digest else None
    return picture_answer(*check_found(photo, "Photo not found."), cache="no-store")


@router.get("/inbox/{conversation_id}/photos/{message_id}", Permission.READ_INBOX, ReadAudit.FOLDED)
async def show_thread_photo(
    request: Request, caller: PageCaller, conversation_id: str, message_id: str
) -> Response:
    return await show_photo(request, caller.business_id, conversation_id, message_id)


@router.post("/inbox/{conversation_id}/photos", Permission.WRITE_INBOX)
async def post_photo(
    request: Request,
    thread: PostedThread,
    client_message_id: Annotated[str, Query(min_length=8, max_length=64)],
) -> Response:
    context, caller, conversation_id = context_of(request), thread.caller, thread.conversation_id
    check_found(await context.db.read(lambda tx: find_conversation(tx, caller.business_id, conversation_id)))
    picture = await context.uploads.take_picture(request, caller.subject_id)

    def send(tx: Tx) -> model.Message:
        photo = photos.save(tx, caller.business_id, picture)
        message_id, author = thread.named_id(client_message_id), thread.actor.name
        message = model.Message.of_business(message_id, conversation_id, "", tx.now, author, photo)
        return send_reply(tx, caller.business_id, conversation_id, message)

    return await thread.change(send)


@router.post("/chat/{account_id}/photos", Access(Credential.VISITOR))
async def post_chat_photo(
    request: Request, client_message_id: Annotated[str, Query(max_length=64)]
) -> Response:
    """Take a customer's photo; the same ``client_message_id`` again changes nothing."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    if not request.headers.get("content-type", "").startswith("image/"):
        raise Refused(errors.NOT_A_PHOTO)
    rules.check_client_id(client_message_id)
    now_s = context.clock.now().timestamp()
    limits = part_of(request, ChatLimits)
    limits.photos.check(f"{account.id}:{visitor}", now_s)
    limits.photos_of_network.check(client_network(request), now_s)
    admit_sender(request, account)
    picture = await context.uploads.take_picture(request)

    def append_photo(tx: Tx) -> str:
        admit_newcomer(tx, request, account, incoming.conversation_id_of(account, visitor))
        photo = photos.save(tx, account.business_id, picture)
        delivery = WebchatDelivery(account.id, visitor, client_message_id, "", micros(tx.now), photo)
        body = msgspec.json.encode(delivery)
        row = receipt_row(tx.vault, account.business_id, CONNECTORS[Platform.WEBCHAT], body, tx.now)
        tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], row)
        return incoming.message_id_of(account, f"{visitor}:{client_message_id}")

    message_id = await context.db.write(append_photo)
    return json_answer({"accepted": True, "message_id": message_id})


@router.get("/chat/{account_id}/photos/{message_id}", Access(Credential.VISITOR))
async def show_chat_photo(request: Request, message_id: str) -> Response:
    account, visitor = await chat_visitor(request)
    conversation_id = incoming.conversation_id_of(account, visitor)
    return await show_photo(request, account.business_id, conversation_id, message_id)


@router.post("/chat/{account_id}/read", Access(Credential.VISITOR))
async def post_chat_read(request: Request) -> Response:
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    part_of(request, ChatLimits).signs.check(f"read:{account.id}:{visitor}", context.clock.now().timestamp())
    ids = account.business_id, incoming.conversation_id_of(account, visitor)
    conversation = await context.db.read(lambda tx: find_conversation(tx, *ids))
    if conversation is not None:
        await context.db.write(lambda tx: incoming.note_customer_read(tx, conversation, tx.now))
    return Response(status_code=204)


@router.post("/chat/{account_id}/typing", Access(Credential.VISITOR))
async def post_chat_typing(request: Request) -> Response:
    """Show members with this thread open that the visitor types; nothing is stored."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    part_of(request, ChatLimits).signs.check(
        f"typing:{account.id}:{visitor}", context.clock.now().timestamp()
    )
    ids = account.business_id, incoming.conversation_id_of(account, visitor)
    conversation = await context.db.read(lambda tx: find_conversation(tx, *ids))
    if conversation is not None and conversation.state is not model.ThreadState.BLOCKED:
        context.live.broadcast_transient(account.business_id, model.CustomerTyping(*ids))
    return Response(status_code=204)


LINK_KEY = "form-link"
"""Purpose of the vault's signer of form links."""


@router.post("/inbox/{conversation_id}/forms", Permission.WRITE_INBOX)
async def post_send_form(
    request: Request,
    thread: PostedThread,
    page_id: Annotated[str, Form(max_length=20)] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    context, business_id = context_of(request), thread.actor.business_id
    conversation_id = thread.conversation_id
    check_found(await context.db.read(lambda tx: find_conversation(tx, business_id, conversation_id)))
    published = await context.db.read(lambda tx: find_published(tx, business_id, page_id))
    version = check_found(published, "Form not found.")
    until = context.clock.now() + timedelta(days=rules.FORM_LINK_DAYS)
    link = FormLink(business_id, conversation_id, version.number, int(until.timestamp()))
    token = rules.sign_form_link(link, context.vault.signer(LINK_KEY))
    address = f"{context.settings.base_url}/form/{token}"
    message_id = thread.named_id(client_message_id, "form:")
    return await thread.change(
        lambda tx: forms.send_form(tx, thread.actor, conversation_id, message_id, version, address)
    )


@router.get("/form/{token}", Access(Credential.ADDRESS))
async def show_form_link(request: Request, token: str) -> HTMLResponse:
    """Show the form of a link, as a page of its own."""
    context, link = _open_link(request, token)
    reader, version = await context.db.read(lambda tx: _load_linked_form(tx, link, token))
    values = {
        "account": {"id": reader.account.id, "display_name": reader.account.name},
        "form": render_form(request, version, reader),
        "conversation_id": link.conversation_id,
    }
    return context.pages.render(request, "inbox/form.html", values)


@router.get("/form/{token}/{page_id}", Access(Credential.ADDRESS))
async def show_linked_sheet(request: Request, token: str, page_id: str, lang: str = "") -> HTMLResponse:
    """Return the sheet alone, in another language; ``page_id`` is the one of the link."""
    context, link = _open_link(request, token)
    if page_id != str(link.number):
        raise Refused(errors.NOT_FOUND, "Form not found.")
    reader, version = await context.db.read(lambda tx: _load_linked_form(tx, link, token))
    return HTMLResponse(render_form(request, version, reader, lang).html, headers=render.NO_STORE)


@router.post("/form/{token}", Access(Credential.ADDRESS))
async def post_linked_form(request: Request, token: str) -> Response:
    """Accept a submission of a form link; a repeated ``submission_id`` gets the same answer."""
    context, link = _open_link(request, token)
    sent = await read_sent(request)
    now_s = context.clock.now().timestamp()
    part_of(request, ChatLimits).linked_forms.check(link.conversation_id, now_s)
    submission = forms.HandedIn(link.business_id, link.number, link.conversation_id, sent)
    return await answer_form(request, sent, submission, link.conversation_id)


def _open_link(request: Request, token: str) -> tuple[Context, FormLink]:
    """Return the content of a form link while it may be opened. Raises Refused: NOT_FOUND."""
    context = context_of(request)
    link = rules.read_form_link(token, context.vault.signer(LINK_KEY)) if len(token) < 200 else None
    if link is None or link.until_s < context.clock.now().timestamp():
        raise Refused(errors.NOT_FOUND, "This link has expired. Ask in the chat for a new one.")
    return context, link


def _load_linked_form(tx: Tx, link: FormLink, token: str) -> tuple[SheetReader, FormVersion]:
    """Return the form of a link, and its reader, who sees no details: the link may be passed on."""
    conversation = check_found(find_conversation(tx, link.business_id, link.conversation_id))
    account = check_found(
        find_account(tx, link.business_id, conversation.channel_account_id), "Form not found."
    )
    version = check_found(find_published(tx, link.business_id, str(link.number)), "Form not found.")
    # The form must not offer times that are booked.
    booked_forms = [version.form_id] if answers.list_hours(version.content) else []
    bookings = list_bookings(tx, version.business_id, booked_forms, tx.now).get(version.form_id, ())
    prefill = Prefill(bookings=bookings)
    return SheetReader(account, link.conversation_id, prefill, base=f"/form/{token}"), version


KEYWORD_ROWS: Final = 6
_EMPTY_ROW: Final = [("", "")]
_SEPARATOR: Final = re.compile(r"[,\n]")
_LABELS: Final = {
    "welcome": N_("Welcome message"), "question": N_("Question"), "answer": N_("Answer"),
    "title": N_("Title"), "content": N_("Content"), "keywords": N_("Keywords"), "reply": N_("Reply"),
}  # fmt: skip


@router.page("/settings/chat/{account_id}", Permission.READ_INBOX, "inbox/automatic.html")
def show_automatic(
    tx: Tx,
    request: Request,
    caller: Caller,
    account_id: str,
    *,
    typed: tuple[model.AutomaticMessages, int] | None = None,
    refused: Refused | None = None,
) -> dict[str, Any]:
    account = find_account(tx, caller.business_id, account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat page not found.")
    content, revision = typed or load_automatic(tx, caller.business_id, account_id)
    questions = [(question.ask, question.say) for question in content.questions]
    prompts = [(prompt.ask, prompt.say) for prompt in content.prompts]
    keywords = [(", ".join(keyword.words), keyword.say) for keyword in content.keywords]
    values: dict[str, Any] = {
        "account": {"id": account.id, "display_name": account.name},
        "revision": revision,
        "welcome": content.welcome,
        "questions": questions + _EMPTY_ROW * (rules.MOST_QUESTIONS - len(questions)),
        "prompts": prompts + _EMPTY_ROW * (rules.MOST_PROMPTS - len(prompts)),
        "keywords": keywords + _EMPTY_ROW * max(KEYWORD_ROWS - len(keywords), 1),
        "limits": rules.AUTOMATIC_LIMITS,
        "can_manage": may(caller, Permission.ADMINISTER),
    }
    if refused is not None:
        words = render.translator_of(request)
        field, says = split_fault(refused, words)
        values["error"] = f"{words.gettext(_LABELS[field])}: {says}" if field in _LABELS else says
    return values


@router.page("/settings/chat/{account_id}/first", Permission.READ_ADS, "inbox/_first.html")
def show_first(tx: Tx, request: Request, caller: Caller, account_id: str) -> dict[str, Any]:
    """Return the account's first messages of a chat, for the preview of an ad without its own."""
    account = check_found(find_account(tx, caller.business_id, account_id))
    saved, revision = load_automatic(tx, caller.business_id, account_id)
    # automatic messages of another platform are unknown here, unless they were written here
    is_own = account.platform is Platform.WEBCHAT
    return {"first": saved.active if revision or is_own else None, "is_own": is_own}


@router.post("/settings/chat/{account_id}", Permission.ADMINISTER)
async def post_automatic(
    request: Request, caller: FormCaller, account_id: str, revision: Annotated[Revision, Form()]
) -> Response:
    sent = await request.form(max_files=0)
    # The form has two columns for each kind of message; empty rows are left out.
    rows: dict[str, list[tuple[str, str]]] = {}
    for first, second in (("question", "answer"), ("title", "content"), ("keywords", "reply")):
        columns = zip(sent.getlist(first), sent.getlist(second), strict=False)
        pairs = [(str(text).strip(), str(answer).strip()) for text, answer in columns]
        rows[first] = [pair for pair in pairs if any(pair)]
    words = (
        (tuple(word.strip() for word in _SEPARATOR.split(words_text) if word.strip()), reply)
        for words_text, reply in rows["keywords"]
    )
    content = model.AutomaticMessages(
        welcome=str(sent.get("welcome", "")).strip(),
        questions=tuple(model.PreparedReply(*pair) for pair in rows["question"]),
        prompts=tuple(model.PreparedReply(*pair) for pair in rows["title"]),
        keywords=tuple(model.KeywordReply(*pair) for pair in words),
    )
    try:
        await context_of(request).db.write(
            lambda tx: keep_automatic(tx, caller.business_id, account_id, content, revision)
        )
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        typed = content, revision
        return await show_automatic.show(request, caller, refused, account_id=account_id, typed=typed)
    return RedirectResponse(f"/settings/chat/{account_id}", 303)
