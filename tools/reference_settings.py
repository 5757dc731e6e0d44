"""The reference pages of settings and errors."""

from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from contatto.kit import errors
from contatto.kit.settings import SETTINGS_FILE, Settings
from contatto.learning.market import SETTINGS
from tools.markdown import page, table


def settings_page() -> str:
    prefix = str(Settings.model_config.get("env_prefix", ""))
    rows = [
        (f"`{name}`", f"`{prefix}{name.upper()}`", _default(field), _allowed(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    says = (
        f"Each setting comes from the environment, else from `{SETTINGS_FILE}` in the working folder, "
        "else it has its default. An unknown name in the file stops the start, so a typing error is seen."
    )
    return page(
        "Settings", says, table(["In the file", "In the environment", "Default", "Allowed", "Says"], rows)
    )


def delivery_settings_page() -> str:
    rows = [
        (f"`{name}`", f"`{each.value:g}`", f"{each.least:g} to {each.most:g}", each.says)
        for name, each in sorted(SETTINGS.items())
    ]
    says = (
        "What `contatto deliver --setting NAME=VALUE` changes. The defaults were chosen in simulated worlds; "
        "[how to try others](../how-to/try-delivery-on-your-own-log.md)."
    )
    return page("Settings of delivery", says, table(["Name", "Default", "Allowed", "Says"], rows))


def errors_page() -> str:
    rows = [
        (f"`{each.name}`", str(each.http_status), str(each.api_code), each.says, each.remedy)
        for each in sorted(errors.ALL, key=lambda each: (each.http_status, each.name))
    ]
    says = (
        "Every refusal has a code, and every code says what to do. Pages, webhooks and the chat answer with "
        "the HTTP status. The API under `/open_api/v1.3/` answers HTTP 200 with the API code in `code`, as "
        "the TikTok Business API does."
    )
    return page("Errors", says, table(["Code", "HTTP", "API code", "Says", "What to do"], rows))


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, Path):
        value = value.as_posix()
    return "" if value in ("", (), None) else f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    kind = field.annotation
    if get_args(kind) and all(isinstance(each, str) for each in get_args(kind)):
        return ", ".join(f"`{each}`" for each in get_args(kind))
    limits = {type(each).__name__.lower(): each for each in field.metadata}
    bounds = [str(getattr(limits[name], name)) for name in ("ge", "le") if name in limits]
    name = (get_origin(kind) or kind).__name__ if kind else ""
    words = {"int": "number", "str": "text", "tuple": "list", "Path": "path", "bool": "true or false"}
    return words.get(name, name) + (f" {' to '.join(bounds)}" if bounds else "")
