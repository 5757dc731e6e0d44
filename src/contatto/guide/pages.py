"""Pages of the set-up, the first steps, and the help."""

from typing import Annotated, Final

from fastapi import Form, Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.actions import hash_password, open_session
from contatto.accounts.auth import PageCaller, Unsent, page_routes, record_act
from contatto.accounts.model import Access, Credential
from contatto.accounts.rules import check_password
from contatto.guide import actions, rules
from contatto.guide.actions import load_pages
from contatto.guide.rules import NewInstallation, Step
from contatto.kit import errors
from contatto.kit.concurrency import HashPool
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults, split_faults
from contatto.kit.languages import region_choices
from contatto.kit.rate_limits import client_network
from contatto.ui.render import check_csrf, set_session, translator_of
from contatto.ui.requests import context_of, part_of

router: Final = page_routes()


@router.post("/setup/{token}", Access(Credential.ADDRESS))
async def post_setup(request: Request, token: str, form: Annotated[NewInstallation, Form()]) -> Response:
    """Create the first business, and sign its owner in."""
    context, pool = context_of(request), part_of(request, HashPool)
    await check_csrf(request, context.pages.csrf_signer)
    await context.db.read(lambda tx: actions.check_setup_link(tx, token))

    def set_up(tx: Tx) -> str:
        owner = actions.set_up_installation(tx, token, form, hashed)
        record_act(tx, request, owner, "POST /setup/{token}")
        browser = request.headers.get("user-agent", "")
        return open_session(tx, owner, context.settings.session_days, browser=browser)

    try:
        faults = Faults()
        faults.read(lambda: actions.check_installation(form), None)
        faults.finish(lambda: check_password(form.password))
        with pool.place(client_network(request)):
            hashed = await pool.run(hash_password, form.password)
        session = await context.db.write(set_up)
    except Refused as refused:
        if refused.code is errors.LINK_OVER:
            raise
        return await show_setup(request, token, form, refused)
    response = RedirectResponse("/start", 303)
    set_session(response, session, context.pages.cookies)
    return response


@router.get("/setup/{token}", Access(Credential.ADDRESS))
async def show_setup(
    request: Request,
    token: str,
    typed: Annotated[NewInstallation | None, Unsent] = None,
    problem: Annotated[Refused | None, Unsent] = None,
) -> HTMLResponse:
    await context_of(request).db.read(lambda tx: actions.check_setup_link(tx, token))
    words = translator_of(request)
    fields = {"name": "business"} | {name: name for name in NewInstallation.model_fields}
    values = {
        "typed": typed or NewInstallation(),
        "errors": {
            fields.get(field, "business"): text for field, text in split_faults(problem, words).items()
        }
        if problem
        else {},
        **region_choices(words),
    }
    return context_of(request).pages.render(request, "guide/setup.html", values, refused=problem)


@router.get("/start", Access(Credential.MEMBER))
async def show_first_steps(request: Request, caller: PageCaller) -> HTMLResponse:
    """Show the first steps of a business; a step is done when its object exists."""
    context = context_of(request)
    done = await context.db.read(lambda tx: actions.list_done_steps(tx, caller.business_id))
    values = {
        "caller": caller,
        "steps": [{"key": step.value, "is_done": step in done, **rules.STEPS[step]} for step in Step],
        "left": len(Step) - len(done),
    }
    return context.pages.render(request, "guide/first_steps.html", values)


@router.get("/help", Access(Credential.MEMBER))
async def show_help(
    request: Request,
    caller: PageCaller,
    q: Annotated[str, Query(max_length=200)] = "",
    screen: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show all documents or search results, or redirect to the document of a screen."""
    pages = load_pages()
    place = rules.page_of_screen(screen, pages) if screen else ""
    if place:
        return RedirectResponse(f"/help/{place}", 303)
    values = {
        "caller": caller,
        "q": q,
        "hits": rules.search_pages(pages.values(), q),
        "guides": sorted(
            (
                page
                for page in pages.values()
                if page.place.startswith(("tutorials/", "how-to/")) and not page.place.endswith("/index")
            ),
            key=lambda page: (page.place.startswith("how-to/"), page.title),
        ),
    }
    return context_of(request).pages.render(request, "guide/help.html", values)


@router.get("/help/{folder}/{page}", Access(Credential.MEMBER))
async def show_help_page(request: Request, caller: PageCaller, folder: str, page: str) -> HTMLResponse:
    """Show one document. Raises NO_ROUTE, for an unknown document."""
    pages = load_pages()
    document = pages.get(f"{folder}/{page}")
    if document is None:
        raise Refused(errors.NO_ROUTE)
    body = Markup(rules.render_page(document, pages))  # noqa: S704  # own documents, with their HTML escaped
    values = {"caller": caller, "page": document, "body": body, "q": ""}
    return context_of(request).pages.render(request, "guide/page.html", values)
