"""The audit log says in words what was done; a route without words shows itself here."""

from contatto.accounts.model import Credential
from contatto.app import ACCESS, SHOWS_CONTACTS
from contatto.audit import API_PREFIX, SENTENCES, act_of, act_text


def acts() -> list[str]:
    """Every act of a caller that is written down: what changes something, and what shows contact values."""
    of_callers = {Credential.MEMBER, Credential.PROGRAM, Credential.APP}
    routes = [route for route, access in ACCESS.items() if access.credential in of_callers]
    told = [each.split(" ", 1) for each in routes if not each.startswith("GET") or each in SHOWS_CONTACTS]
    return [act_of(method, path) for method, path in told]


def test_every_act_has_a_sentence() -> None:
    assert [act for act in acts() if not act_text(act)] == [], "say it in `audit.SENTENCES`"


def test_no_sentence_is_of_an_act_that_is_gone() -> None:
    known = [*acts(), *(act_of(*route.split(" ", 1)) for route in ACCESS), "contatto member add"]
    said = {
        max((start for start in SENTENCES if act.startswith(start)), key=len, default="") for act in known
    }
    assert set(SENTENCES) - said == set()


def test_the_longest_beginning_says_it() -> None:
    assert act_text("POST /leads/{lead_id}/labels/{label_id}/remove") == "Removed a label from a lead"
    assert act_text(act_of("POST", f"{API_PREFIX}/campaign/create/")) == "Changed ads"
    assert act_text("GET /nothing") == ""
