"""Who works in a business: roles, the end of access, one's own sessions, and several businesses."""

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.model import Role
from contatto.accounts.rules import browser_name
from tests.journeys.running import EMAIL, House
from tests.people.conftest import MEI, Person, add_member, found, member_of, second_business
from tests.unchanged import nothing_changes

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def signed_in(house: House, email: str) -> Person:
    person = Person(house)
    assert person.log_in(email).status_code == 303
    return person


def test_a_member_who_is_deactivated_is_out_and_comes_in_no_more(silent_house: House) -> None:
    house = silent_house
    member, owner = add_member(house, MEI), signed_in(house, EMAIL)
    mei = signed_in(house, MEI)
    assert owner.send(f"/settings/members/{member.id}/deactivate").status_code == 303
    assert mei.client.get("/inbox").headers["location"].startswith("/login")
    assert mei.log_in(MEI).status_code == 401
    assert owner.send(f"/settings/members/{member.id}/reactivate").status_code == 303
    assert mei.log_in(MEI).status_code == 303


def test_a_changed_role_holds_from_the_next_log_in(silent_house: House) -> None:
    house = silent_house
    member, owner = add_member(house, MEI), signed_in(house, EMAIL)
    mei = signed_in(house, MEI)
    assert owner.send(f"/settings/members/{member.id}/role", role="analyst").status_code == 303
    assert mei.client.get("/inbox").status_code == 303
    mei.log_in(MEI)
    assert mei.client.get("/leads").status_code == 403
    mei.open("/reports")


def test_the_last_owner_stays(silent_house: House) -> None:
    house = silent_house
    owner, own = signed_in(house, EMAIL), member_of(house, EMAIL)
    with nothing_changes(house.context.db):
        for act, form in (("deactivate", {}), ("role", {"role": "admin"})):
            answer = owner.send(f"/settings/members/{own.id}/{act}", **form)
            assert answer.status_code == 409
            assert "This is the last owner. Make another member an owner first." in answer.text
            assert "and their permissions." in answer.text


def test_an_admin_neither_makes_nor_unmakes_owners(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI, Role.ADMIN)
    admin, owner, own = signed_in(house, MEI), member_of(house, EMAIL), member_of(house, MEI)
    with nothing_changes(house.context.db):
        assert admin.send(f"/settings/members/{owner.id}/deactivate").status_code == 403
        assert admin.send(f"/settings/members/{own.id}/role", role="owner").status_code == 403


def test_one_s_own_sessions_are_seen_and_ended(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    here, elsewhere, third = (Person(house) for _ in range(3))
    elsewhere.client.headers["user-agent"] = FIREFOX
    for person in (here, elsewhere, third):
        person.log_in(MEI)
    page = here.open("/settings/profile")
    assert "Firefox, Linux" in page
    listed = page.partition("Firefox, Linux")[2]
    assert here.send(found(r"(/settings/profile/sessions/[\w-]{36}/end)", listed)).status_code == 303
    assert elsewhere.client.get("/inbox").status_code == 303
    third.open("/inbox")
    here.send("/settings/profile/sessions/end")
    assert third.client.get("/inbox").status_code == 303
    here.open("/inbox")


def test_nobody_ends_the_session_of_another(silent_house: House) -> None:
    house = silent_house
    member = add_member(house, MEI)
    mei, owner = signed_in(house, MEI), signed_in(house, EMAIL)
    [session] = house.context.db.read_now(lambda tx: store.list_sessions(tx, member.business_id, member.id))
    with nothing_changes(house.context.db):
        assert owner.send(f"/settings/profile/sessions/{session.id}/end").status_code == 404
    mei.open("/inbox")


def test_a_profile_holds_name_language_and_time_zone(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    mei = signed_in(house, MEI)
    form = {"display_name": " Mei  Lin ", "language": "it", "timezone": "Asia/Singapore"}
    assert mei.send("/settings/profile", **form).status_code == 303
    page = mei.open("/inbox")
    assert 'lang="it"' in page
    assert 'data-time-zone="Asia/Singapore"' in page
    assert "Mei Lin" in page
    with nothing_changes(house.context.db):
        for wrong in ({"timezone": "Mars/Base"}, {"language": "tlh"}, {"display_name": " "}):
            assert mei.send("/settings/profile", **(form | wrong)).status_code == 422


def test_who_works_in_two_businesses_acts_in_one_at_a_time(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI, Role.ADMIN)
    there = second_business(house, MEI)
    mei = signed_in(house, MEI)
    assert "Kopi and Co" in mei.open("/inbox")
    still_open = mei.open("/settings/members")
    assert mei.send("/switch", page="/settings/profile", business_id=there.id).status_code == 303
    assert "Teh and Co" in mei.open("/inbox")
    token = found(r'name="csrf_token" value="([\w-]{43})"', still_open)
    with nothing_changes(house.context.db):
        form = {"csrf_token": token, "email": "kai@example.com", "role": "agent"}
        assert mei.client.post("/settings/invitations", data=form).status_code == 403
        member = member_of(house, EMAIL)
        assert mei.send(f"/settings/members/{member.id}/deactivate").status_code == 404
    assert mei.log_in(MEI).status_code == 303
    assert "Teh and Co" in mei.open("/inbox"), "a log-in leads to where one was last"


def test_the_end_in_one_business_leaves_the_other(silent_house: House) -> None:
    house = silent_house
    member = add_member(house, MEI)
    second_business(house, MEI)
    mei, owner = signed_in(house, MEI), signed_in(house, EMAIL)
    owner.send(f"/settings/members/{member.id}/deactivate")
    assert mei.client.get("/inbox").status_code == 303
    mei.log_in(MEI)
    assert "Teh and Co" in mei.open("/inbox")
    with nothing_changes(house.context.db):
        assert mei.send("/switch", business_id=house.business_id).status_code == 404


def test_a_business_in_which_one_does_not_work_is_not_entered(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    other = house.context.db.write_now(lambda tx: accounts.create_business(tx, "Teh and Co"))
    mei = signed_in(house, MEI)
    with nothing_changes(house.context.db):
        assert mei.send("/switch", business_id=other.id).status_code == 404
    mei.open("/inbox")


def test_a_browser_is_known_by_its_usual_name() -> None:
    assert browser_name(FIREFOX) == "Firefox, Linux"
    iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
    assert browser_name(iphone) == "Safari, iOS"
    assert browser_name("curl/8.0 <script>") == ""
