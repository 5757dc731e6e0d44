"""The vault: what is sealed opens again, for its tenant and with its key only."""

import hashlib
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadSignature, Signer

from contatto.kit.vault import ExtendedNonceCipher, Sealed, Vault, row_key

type Place = tuple[str, str, str]

OLD, NEW = bytes(32), bytes(range(32))
VAULT = Vault({"old": OLD})
ROTATED = Vault({"new": NEW, "old": OLD})
RETIRED = Vault({"new": NEW, "old": OLD}, {"old"})
any_text = st.text(st.characters(codec=None))  # lone surrogates too
tenants = st.text(st.characters(codec="utf-8"), max_size=40)


rows = st.text(st.characters(codec=None, exclude_characters="\0"))
places = st.tuples(tenants, st.sampled_from(["leads.name", "leads.notes", "messages.body"]), rows)
PLACE = ("tenant", "leads.name", "row")


@given(any_text, places)
def test_a_text_comes_back_as_it_was(text: str, place: Place) -> None:
    assert VAULT.open(VAULT.seal(text, *place), *place) == text


@given(st.binary(), places)
def test_bytes_come_back_as_they_were(raw: bytes, place: Place) -> None:
    assert VAULT.open_bytes(VAULT.seal_bytes(raw, *place), *place) == raw


@given(any_text, places, places, st.sets(st.integers(0, 2)))
def test_a_value_opens_only_for_its_tenant_column_and_row(
    text: str, place: Place, other: Place, changed: set[int]
) -> None:
    """Any of the three may differ, and any number of them."""
    moved = [other[at] if at in changed else place[at] for at in range(3)]
    sealed = VAULT.seal(text, *place)
    if tuple(moved) == place:
        assert VAULT.open(sealed, *moved) == text
    else:
        with pytest.raises(Sealed):
            VAULT.open(sealed, *moved)


def test_a_row_that_is_named_with_a_nul_opens_where_postgresql_has_kept_another_character() -> None:
    sealed = VAULT.seal("secret", "tenant", "channel_apps.secret", "app\0")
    assert VAULT.open(sealed, "tenant", "channel_apps.secret", "app\ufffd") == "secret"


@given(st.lists(st.integers() | st.uuids(), min_size=1), st.lists(st.integers() | st.uuids(), min_size=1))
def test_rows_of_different_values_have_different_names(one: list[object], other: list[object]) -> None:
    same = [str(value) for value in one] == [str(value) for value in other]
    assert (row_key(*one) == row_key(*other)) is same


@pytest.mark.parametrize(
    ("key", "associated", "expected"),
    [
        (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_a_value_is_encrypted_as_the_specification_says(
    key: int, associated: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source: C2SP, XAES-256-GCM, test vectors."""
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    halves = iter((nonce[:12], nonce[12:]))
    monkeypatch.setattr("contatto.kit.vault.os.urandom", lambda _: next(halves))
    cipher = ExtendedNonceCipher(bytes([key]) * 32)
    encrypted = cipher.encrypt(b"XAES-256-GCM", associated)
    assert encrypted == nonce + bytes.fromhex(expected)
    assert cipher.decrypt(encrypted, associated) == b"XAES-256-GCM"


def test_a_process_selects_another_key_after_some_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contatto.kit.vault._PER_SELECTOR", 10)
    cipher = ExtendedNonceCipher(bytes(32))
    nonces = [cipher.encrypt(b"a value", b"")[:24] for _ in range(50)]
    assert len(set(nonces)) == 50
    assert len({nonce[:12] for nonce in nonces}) == 5
    assert ExtendedNonceCipher(bytes(32)).encrypt(b"", b"")[:12] not in {nonce[:12] for nonce in nonces}


def test_threads_share_a_cipher() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def seal_and_open(number: int) -> bool:
        text = f"text {number}"
        return VAULT.open(VAULT.seal(text, *PLACE), *PLACE) == text

    try:
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(seal_and_open, range(20_000), chunksize=100))
    finally:
        sys.setswitchinterval(interval)


@given(st.data())
def test_a_value_with_any_bit_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(VAULT.seal("a value", *PLACE))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Sealed):
        VAULT.open(bytes(sealed), *PLACE)


@given(st.integers(0, 70))
def test_a_value_cut_short_does_not_open(length: int) -> None:
    sealed = VAULT.seal("a value", *PLACE)
    with pytest.raises(Sealed):
        VAULT.open_bytes(sealed[: min(length, len(sealed) - 1)], *PLACE)


@given(st.one_of(st.binary(), st.binary().map(lambda tail: b"\x02\x03old" + tail)))
def test_any_other_bytes_are_sealed_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(Sealed):
        VAULT.open(raw, *PLACE)


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert VAULT.seal("a", *PLACE) != VAULT.seal("a", *PLACE)


def test_after_a_rotation_old_values_open_and_new_ones_need_the_new_key() -> None:
    before = VAULT.seal("kept", *PLACE)
    after = ROTATED.seal("fresh", *PLACE)
    assert ROTATED.open(before, *PLACE) == "kept"
    assert ROTATED.open(after, *PLACE) == "fresh"
    with pytest.raises(Sealed):
        VAULT.open(after, *PLACE)


def test_a_retired_key_opens_nothing() -> None:
    before = VAULT.seal("kept", *PLACE)
    with pytest.raises(Sealed):
        RETIRED.open(before, *PLACE)
    assert RETIRED.open(ROTATED.seal_bytes(ROTATED.open_bytes(before, *PLACE), *PLACE), *PLACE) == "kept"


@pytest.mark.parametrize("vault", [ROTATED, RETIRED], ids=["rotated", "retired"])
def test_the_blind_index_and_derived_keys_stay_the_same_for_ever(vault: Vault) -> None:
    assert VAULT.blind("+6591234567", "t") == vault.blind("+6591234567", "t")
    assert VAULT.derivation_key("visitor") == vault.derivation_key("visitor")
    assert VAULT.named_id("place", "mei") == vault.named_id("place", "mei")


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert VAULT.derivation_key("visitor") != VAULT.derivation_key("ids")
    assert VAULT.derivation_key("visitor") != Vault({"k": NEW}).derivation_key("visitor")
    assert VAULT.derivation_key("visitor") not in VAULT.signer("visitor").secret_keys
    assert VAULT.signer("csrf").secret_keys != VAULT.signer("tracking").secret_keys


@given(st.binary())
def test_a_signature_holds_over_a_rotation_until_its_key_is_retired(raw: bytes) -> None:
    before, after = (vault.signer("a purpose").sign(raw) for vault in (VAULT, ROTATED))
    assert ROTATED.signer("a purpose").unsign(before) == raw
    for vault in (ROTATED, RETIRED):
        assert vault.signer("a purpose").unsign(after) == raw
    for vault, signed in ((RETIRED, before), (VAULT, after)):
        with pytest.raises(BadSignature):
            vault.signer("a purpose").unsign(signed)


@given(st.binary())
def test_a_signature_is_that_of_the_library(raw: bytes) -> None:
    signer = VAULT.signer("a purpose")
    usual = Signer(signer.secret_keys, key_derivation="none", digest_method=hashlib.sha256)
    assert signer.sign(raw) == usual.sign(raw)


@given(st.binary(), st.binary())
def test_a_signature_of_another_purpose_or_value_is_refused(raw: bytes, other: bytes) -> None:
    signer, signature = VAULT.signer("a purpose"), VAULT.signer("a purpose").get_signature(raw)
    assert signer.verify_signature(raw, signature)
    assert not VAULT.signer("another").verify_signature(raw, signature)
    assert signer.verify_signature(other, signature) is (raw == other)


@given(st.binary(), st.data())
def test_what_is_signed_is_taken_in_no_other_form(raw: bytes, data: st.DataObject) -> None:
    signed = bytearray(VAULT.signer("a purpose").sign(raw))
    place = data.draw(st.integers(0, len(signed) - 1))
    signed[place] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(signed) - 1))
    for forged in (signed, signed[:cut], signed + b"=", signed + b"A", signed[:-1] + b"!" + signed[-1:]):
        with pytest.raises(BadSignature):
            VAULT.signer("a purpose").unsign(bytes(forged))


@given(any_text)
def test_any_other_text_is_no_signed_value(text: str) -> None:
    assert not VAULT.signer("a purpose").verify_signature(b"", text)
    with pytest.raises(BadSignature):
        VAULT.signer("a purpose").unsign(text)


def test_the_newest_key_cannot_be_retired() -> None:
    with pytest.raises(ValueError, match="newest"):
        Vault({"new": NEW, "old": OLD}, {"new"})


@given(any_text, any_text)
def test_only_equal_texts_have_equal_fingerprints(one: str, other: str) -> None:
    assert (VAULT.blind(one, "t") == VAULT.blind(other, "t")) is (one == other)
    assert len(VAULT.blind(one, "t")) == 16


def test_fingerprints_of_two_tenants_cannot_be_compared() -> None:
    assert VAULT.blind("a", "t1") != VAULT.blind("a", "t2")


@pytest.mark.parametrize("keys", [{}, {"k": b"short"}], ids=["none", "too short"])
def test_a_vault_needs_a_whole_key(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(keys)


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
