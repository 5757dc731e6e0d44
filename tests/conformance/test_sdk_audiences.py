"""Audiences through the official SDK: a file of hashed values, the audience of it, and its lookalike."""

import hashlib
from pathlib import Path
from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from tests.conformance.sdk import SINGAPORE, Sdk, code_of

DIGESTS = [hashlib.sha256(f"{number}@example.com".encode()).hexdigest() for number in range(1_000)]


def api(sdk: Sdk) -> Any:
    return vendor.AudienceApi(sdk.client)


def upload(sdk: Sdk, folder: Path, lines: list[str]) -> str:
    file = folder / "customers.csv"
    file.write_text("\n".join(lines))
    named = {"advertiser_id": sdk.advertiser_id, "calculate_type": "EMAIL_SHA256", "file": str(file)}
    return str(sdk.call(api(sdk).dmp_custom_audience_file_upload, **named)["file_path"])


def make(sdk: Sdk, path: str, **changes: Any) -> str:
    values = {"advertiser_id": sdk.advertiser_id, "custom_audience_name": "Regulars", "file_paths": [path],
              "calculate_type": "EMAIL_SHA256"} | changes  # fmt: skip
    body = vendor.CustomAudienceCreateBody(**values)
    return str(sdk.call(api(sdk).dmp_custom_audience_create, body=body)["custom_audience_id"])


def details(sdk: Sdk, audience: str) -> dict[str, Any]:
    found = sdk.call(api(sdk).dmp_custom_audience_get, sdk.advertiser_id, [audience])["list"]
    shown: dict[str, Any] = found[0]["audience_details"]
    return shown


def test_an_audience_is_uploaded_made_changed_and_deleted(sdk: Sdk, tmp_path: Path) -> None:
    audience = make(sdk, upload(sdk, tmp_path, DIGESTS))
    assert details(sdk, audience)["cover_num"] == 1_000
    body = vendor.CustomAudienceUpdateBody(
        advertiser_id=sdk.advertiser_id, custom_audience_id=audience, custom_audience_name="Few",
        action="REMOVE", file_paths=[upload(sdk, tmp_path, DIGESTS[:400])],
    )  # fmt: skip
    sdk.call(api(sdk).dmp_custom_audience_update, body=body)
    shown = details(sdk, audience)
    assert (shown["cover_num"], shown["name"], shown["calculate_type"]) == (600, "Few", "EMAIL_SHA256")
    listed = sdk.call(api(sdk).dmp_custom_audience_list, sdk.advertiser_id, page=1, page_size=10)
    assert [row["audience_id"] for row in listed["list"]] == [audience]
    gone = vendor.CustomAudienceDeleteBody(advertiser_id=sdk.advertiser_id, custom_audience_ids=[audience])
    sdk.call(api(sdk).dmp_custom_audience_delete, body=gone)
    assert sdk.call(api(sdk).dmp_custom_audience_list, sdk.advertiser_id)["list"] == []


def test_a_lookalike_stands_on_another_audience(sdk: Sdk, tmp_path: Path) -> None:
    source = make(sdk, upload(sdk, tmp_path, DIGESTS))

    def lookalike(source_id: str) -> Any:
        spec = vendor.DmpcustomAudiencelookalikecreateLookalikeSpec(
            source_audience_id=source_id, audience_size="BALANCED", mobile_os="ALL", include_source=False,
            location_ids=[SINGAPORE], placements=["PLACEMENT_TIKTOK"],
        )  # fmt: skip
        body = vendor.LookalikeCreateBody(
            advertiser_id=sdk.advertiser_id, custom_audience_name="Likes", lookalike_spec=spec
        )
        return sdk.call(api(sdk).dmp_custom_audience_lookalike_create, body=body)

    made = lookalike(source)["custom_audience_id"]
    assert details(sdk, made)["audience_type"] == "LOOKALIKE"
    with pytest.raises(TiktokSDKError) as caught:
        lookalike("18")
    assert code_of(caught.value) == 40007
    assert "lookalike_spec.source_audience_id: " in str(caught.value)


def test_what_is_not_hashed_or_not_there_is_refused(sdk: Sdk, tmp_path: Path) -> None:
    with pytest.raises(TiktokSDKError) as caught:
        upload(sdk, tmp_path, ["mei@example.com"])
    assert code_of(caught.value) == 40062
    with pytest.raises(TiktokSDKError) as caught:
        upload(sdk, tmp_path, [" "])
    assert code_of(caught.value) == 40906
    with pytest.raises(TiktokSDKError) as caught:
        make(sdk, "audience_nothing")
    assert code_of(caught.value) == 40905
