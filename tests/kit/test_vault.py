"""The vault: what is sealed opens again, for its tenant and with its key only."""

import base64
import os
import stat
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.vault import KEY_FILE, Sealed, Vault, load_keys, parse_keys

OLD, NEW = bytes(32), bytes(range(32))
VAULT = Vault({"old": OLD})
ROTATED = Vault({"new": NEW, "old": OLD})
any_text = st.text(st.characters(codec=None))  # lone surrogates too
tenants = st.text(st.characters(codec="utf-8"), max_size=40)


def line(key_id: str, key: bytes = OLD) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


@given(any_text, tenants)
def test_a_text_comes_back_as_it_was(text: str, tenant: str) -> None:
    assert VAULT.open(VAULT.seal(text, tenant), tenant) == text


@given(st.binary(), tenants)
def test_bytes_come_back_as_they_were(raw: bytes, tenant: str) -> None:
    assert VAULT.open_bytes(VAULT.seal_bytes(raw, tenant), tenant) == raw


@given(any_text, tenants, tenants)
def test_a_value_does_not_open_for_another_tenant(text: str, tenant: str, other: str) -> None:
    sealed = VAULT.seal(text, tenant)
    if tenant != other:
        with pytest.raises(Sealed):
            VAULT.open(sealed, other)


@given(st.data())
def test_a_value_with_any_bit_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(VAULT.seal("a value", "tenant"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Sealed):
        VAULT.open(bytes(sealed), "tenant")


@given(st.integers(0, 60))
def test_a_value_cut_short_does_not_open(length: int) -> None:
    sealed = VAULT.seal("a value", "tenant")
    with pytest.raises(Sealed):
        VAULT.open_bytes(sealed[: min(length, len(sealed) - 1)], "tenant")


@given(st.one_of(st.binary(), st.binary().map(lambda tail: b"\x01\x03old" + tail)))
def test_any_other_bytes_are_sealed_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(Sealed):
        VAULT.open(raw, "tenant")


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert VAULT.seal("a", "t") != VAULT.seal("a", "t")


def test_after_a_rotation_old_values_open_and_new_ones_need_the_new_key() -> None:
    before = VAULT.seal("kept", "t")
    after = ROTATED.seal("fresh", "t")
    assert ROTATED.open(before, "t") == "kept"
    assert ROTATED.open(after, "t") == "fresh"
    with pytest.raises(Sealed):
        VAULT.open(after, "t")


def test_the_blind_index_and_signing_keys_stay_the_same_over_a_rotation() -> None:
    assert VAULT.blind("+6591234567", "t") == ROTATED.blind("+6591234567", "t")
    assert VAULT.signing_key("csrf") == ROTATED.signing_key("csrf")


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert VAULT.signing_key("csrf") != VAULT.signing_key("tracking")
    assert VAULT.signing_key("csrf") != Vault({"k": NEW}).signing_key("csrf")


@given(any_text, any_text)
def test_only_equal_texts_have_equal_fingerprints(one: str, other: str) -> None:
    assert (VAULT.blind(one, "t") == VAULT.blind(other, "t")) is (one == other)
    assert len(VAULT.blind(one, "t")) == 16


def test_fingerprints_of_two_tenants_cannot_be_compared() -> None:
    assert VAULT.blind("a", "t1") != VAULT.blind("a", "t2")


def test_keys_are_read_in_their_order() -> None:
    assert list(parse_keys((line("new", NEW), line("old")))) == ["new", "old"]


@pytest.mark.parametrize(
    "lines",
    [
        ("no colon",),
        (":" + base64.b64encode(OLD).decode(),),
        ("k:not base64!",),
        ("k:" + base64.b64encode(b"short").decode(),),
        (line("k" * 33),),
        (line("ключ"),),
        (line("same", NEW), line("same")),
    ],
    ids=["no colon", "no id", "no base64", "too short", "long id", "id not ASCII", "id twice"],
)
def test_a_malformed_key_is_a_value_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message of base64 is not ours
        parse_keys(lines)


@pytest.mark.parametrize("keys", [{}, {"k": b"short"}], ids=["none", "too short"])
def test_a_vault_needs_a_whole_key(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(keys)


def test_the_first_start_makes_a_key_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    made = load_keys((), tmp_path / "data")
    path = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys((), tmp_path / "data") == made
    assert len(next(iter(made.values()))) == 32


def test_configured_keys_win_and_no_file_is_made(tmp_path: Path) -> None:
    assert load_keys((line("k"),), tmp_path) == {"k": OLD}
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_an_id_follows_from_a_name_at_a_place_and_from_the_oldest_key_alone() -> None:
    vault, other = Vault({"a": bytes(32)}), Vault({"a": b"\1" * 32})
    rotated = Vault({"b": b"\2" * 32, "a": bytes(32)})
    made = vault.named_id("place", "mei")
    assert made == rotated.named_id("place", "mei")
    assert made not in {
        vault.named_id("place", "mai"),
        vault.named_id("x", "mei"),
        other.named_id("place", "mei"),
    }
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
