"""Long computing in a process of its own: it knows none of our settings, and what breaks says so."""

import asyncio
import os
import zlib
from typing import Any

import pytest

from contatto.kit.sandbox import LongProcess, Overworked


def test_a_process_works_on_bytes_and_gives_bytes_back() -> None:
    raw = b"a" * 300_000
    assert zlib.decompress(asyncio.run(LongProcess(60.0).run(zlib.compress, raw))) == raw


def test_work_that_breaks_is_told() -> None:
    with pytest.raises(Overworked):
        asyncio.run(LongProcess(60.0).run(zlib.decompress, b"nothing of this kind"))


def test_work_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Overworked, match="too long"):
        asyncio.run(LongProcess(0.0).run(zlib.compress, b"a"))


def test_a_process_gets_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTATTO_SECRET", "key")
    monkeypatch.setenv("OTHER_VALUE", "value")
    look_up: Any = os.getenvb
    assert asyncio.run(LongProcess(60.0).run(look_up, b"OTHER_VALUE")) == b"value"
    with pytest.raises(Overworked):  # it is not there, and nothing is no answer
        asyncio.run(LongProcess(60.0).run(look_up, b"CONTATTO_SECRET"))
