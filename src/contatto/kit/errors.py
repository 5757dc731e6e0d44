"""Refusals with code, HTTP status, API number and remedy."""

from dataclasses import dataclass
from typing import Any, Final

from contatto.kit.i18n import LazyText


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """Kind of refusal.

    ``api_code`` is the number in the TikTok-compatible API (``NumericErrorCodes`` of its SDK). That API
    always answers HTTP 200, so ``http_status`` is for pages, webhooks and the chat only.
    """

    name: str
    http_status: int
    api_code: int
    says: str
    remedy: str


class Refused(Exception):
    """Request that was understood and refused, without an effect.

    Args:
        code: kind of refusal.
        detail: plain words without contact values, optionally after a field's name and a colon.
        retry_after_s: seconds until another try makes sense.
        values: fill the ``%(name)s`` of the detail.
    """

    def __init__(
        self, code: ErrorCode, detail: str = "", retry_after_s: int | None = None, **values: Any
    ) -> None:
        self.text, self.values = detail or code.says, values
        self.detail = self.text % values if values else self.text
        super().__init__(f"{code.name}: {self.detail}")
        self.code = code
        self.retry_after_s = retry_after_s
        self.others: tuple[Refused, ...] = ()  # further faults of the same form

    def expect(self, *codes: ErrorCode) -> "Refused":
        """Return this refusal if it is of one of these kinds; raise another one again."""
        if self.code not in codes:
            raise self
        return self

    @property
    def said(self) -> LazyText:
        """Return the detail, to be translated when it is shown."""
        return LazyText(self.text, **self.values)


INVALID: Final = ErrorCode(
    "invalid", 422, 40002, "A value is missing or not allowed.", "Correct the field that the message names."
)
UNREADABLE: Final = ErrorCode(
    "unreadable", 400, 40000, "The body could not be read.", "Send a valid JSON object in UTF-8."
)
TOO_LARGE: Final = ErrorCode("too_large", 413, 40907, "The body is too large.", "Send less at once.")
PHOTO_TOO_LARGE: Final = ErrorCode(
    "photo_too_large", 413, 40907, "The photo is too large.", "Send a photo of at most 8 MB."
)
NOT_A_PHOTO: Final = ErrorCode(
    "not_a_photo", 415, 40002, "This photo cannot be shown.", "Send a JPEG, PNG, WebP or GIF picture."
)
UNSIGNED: Final = ErrorCode(
    "unsigned", 401, 40900, "The signature is missing or wrong.", "Sign the raw body with this app's secret."
)
STALE: Final = ErrorCode("stale", 401, 40900, "The signature is too old or its time is wrong.",
    "Sign again with the current time. Check the sender's clock.")  # fmt: skip
SIGN_IN: Final = ErrorCode("sign_in", 401, 40104, "You are not logged in.", "Log in and try again.")
BAD_TOKEN: Final = ErrorCode(
    "bad_token", 401, 40105, "The access token is not valid.", "Create a new token in Settings."
)
BAD_CODE: Final = ErrorCode("bad_code", 401, 40110,
    "The auth code is not valid: it is wrong, used, or older than ten minutes.",
    "Create a new code in Settings.")  # fmt: skip
LINK_OVER: Final = ErrorCode(
    "link_over", 404, 40007, "This link was already used, or has expired.", "Ask for a new link."
)
WRONG_APP: Final = ErrorCode("wrong_app", 401, 40001, "The app id and the secret do not match.",
    "Send the app_id and the secret that Settings lists under Channels, or an access token.")  # fmt: skip
WRONG_LOGIN: Final = ErrorCode("wrong_login", 401, 40001, "E-mail or password is wrong.",
    "Check both, or ask an owner for a new password.")  # fmt: skip
FORGED: Final = ErrorCode("forged", 403, 40001, "The form belongs to another session.",
    "Reload the page and send the form again. Your text is kept.")  # fmt: skip
FORBIDDEN: Final = ErrorCode(
    "forbidden", 403, 40001, "Your role does not allow this.", "Ask an owner or admin of the business."
)
NO_SCOPE: Final = ErrorCode("no_scope", 403, 40130, "The access token lacks a scope.",
    "Use a token with the scope that the message names. You can create one in Settings.")  # fmt: skip
NOT_FOUND: Final = ErrorCode("not_found", 404, 40007, "Not found.",
    "Check the id, and that it belongs to this business.")  # fmt: skip
NO_ADVERTISER: Final = ErrorCode("no_advertiser", 404, 40300, "This token has no access to this ad account.",
    "Use an advertiser_id from Settings.")  # fmt: skip
NO_AD_ACCOUNT: Final = ErrorCode("no_ad_account", 404, 40300, "This business has no ad account yet.",
    "Add one under Settings, Ad accounts.")  # fmt: skip
NO_ROUTE: Final = ErrorCode("no_route", 404, 40400, "This address does not exist.", "Check the path.")
CONFLICT: Final = ErrorCode(
    "conflict", 409, 40202, "Somebody else changed this.", "Reload the page, check the change, and try again."
)
REPEATED: Final = ErrorCode("repeated", 409, 40050, "This request_id was used for another request.",
    "Send the original body again, or use a new request_id.")  # fmt: skip
AD_LIMIT: Final = ErrorCode(
    "ad_limit", 409, 40502, "The limit is reached.", "Delete some, or use another campaign."
)
NOT_HASHED: Final = ErrorCode("not_hashed", 422, 40062, "A value is not hashed.",
    "Send SHA-256 digests in hexadecimal, never the values themselves.")  # fmt: skip
IN_USE: Final = ErrorCode(
    "in_use", 409, 40002, "This item is still in use.", "Remove it from where it is used, then delete it."
)
BATCH_SIZE: Final = ErrorCode(
    "batch_size", 422, 40061, "There are too many items in one request.", "Send them in several requests."
)
FILE_UNKNOWN: Final = ErrorCode("file_unknown", 404, 40905, "This ad account has no such file.",
    "Upload it, and send its file_path.")  # fmt: skip
FILE_EMPTY: Final = ErrorCode("file_empty", 422, 40906, "The file is empty.", "Send one value per line.")
FILE_TYPE: Final = ErrorCode(
    "file_type", 415, 40908, "The file is not a text file.", "Send a CSV or text file in UTF-8."
)
FILE_EXPIRED: Final = ErrorCode(
    "file_expired", 410, 40910, "The file was uploaded too long ago.", "Upload it again."
)
TASK_NOT_READY: Final = ErrorCode("task_not_ready", 409, 40201, "The file is not ready yet.",
    "Check the task's status, and download the file when it is ready.")  # fmt: skip
TASK_FAILED: Final = ErrorCode("task_failed", 409, 40200, "The file could not be created.",
    "Create a new task. If it fails again, tell your operator.")  # fmt: skip
LINK_EXPIRED: Final = ErrorCode(
    "link_expired", 410, 40910, "The file is older than ten minutes and was deleted.", "Create a new task."
)
TASK_ENDED: Final = ErrorCode(
    "task_ended", 409, 40200, "The task has ended already.", "Create a new task if you need another file."
)
TOO_MANY: Final = ErrorCode("too_many", 429, 40100, "Too many attempts.", "Wait a moment, then try again.")
BUSY: Final = ErrorCode("busy", 503, 50002, "The server is busy.", "Wait a moment, then try again.")
NOT_ELIGIBLE: Final = ErrorCode("not_eligible", 422, 40002,
    "The Lead goal is not available for these countries.",
    "Use countries that pass the check, or choose the goal Conversation.")  # fmt: skip
CAPTURE_OFF: Final = ErrorCode(
    "capture_off",
    409,
    40002,
    "The goal Lead needs automatic lead capture, which is off for this account.",
    "Turn it on with POST /open_api/v1.3/contatto/capture/turn_on/ or in Settings, then send this again.",
)
CANNOT_SEND: Final = ErrorCode("cannot_send", 409, 40002, "This person cannot receive messages now.",
    "See the reason. If the time to reply is over, wait until the person writes again.")  # fmt: skip
TOO_FAST: Final = ErrorCode("too_fast", 409, 40064,
    "You have sent all messages that are allowed before the person replies.",
    "Wait until the person writes again.")  # fmt: skip
CAPTURE_IN_REVIEW: Final = ErrorCode("capture_in_review", 409, 40002,
    "The company details for lead capture are in review or were refused.",
    "The company details are kept. Turn on capture after the review. Settings shows its status.")  # fmt: skip
FILE_BAD: Final = ErrorCode("file_bad", 500, 50000, "An encrypted file is damaged.",
    "Ask the operator to put the file back from a backup.")  # fmt: skip
BROKEN: Final = ErrorCode("broken", 500, 50000, "Something went wrong on our side.",
    "Try again. If it happens again, give your operator the request id.")  # fmt: skip

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, ErrorCode))
"""Every code, for the reference page."""


def check_found[T](value: T | None, detail: str = "") -> T:
    """Return a value, or refuse with NOT_FOUND where there is none."""
    if value is None:
        raise Refused(NOT_FOUND, detail)
    return value
