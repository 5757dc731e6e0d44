"""Every setting of an installation: from the environment, from ``contatto.toml``, or by default."""

from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contatto.kit.values import InvalidEmail, checked_email

SETTINGS_FILE: Final = "contatto.toml"
_ADDRESS_FILE: Final = "address"
LEAST_HOT_DAYS: Final = 30
"""The longest attribution window, and a day at either end for time zones."""


class Settings(BaseSettings):
    """Settings of one installation; the environment wins over the file, the file over the defaults."""

    model_config = SettingsConfigDict(
        env_prefix="CONTATTO_", toml_file=SETTINGS_FILE, extra="forbid", frozen=True
    )

    data_dir: Path = Field(default=Path(".contatto"), description="Folder of the database and keys.")
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL, such as postgresql+psycopg://user:pass@host/db; "
        "empty means SQLite in the data folder.",
    )
    base_url: str = Field(
        default="",
        description="Public address of this installation, without a final slash, for links; empty "
        "means http on the address and port of the server; in commands, those of its last start.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the server listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port that the server listens on; 0 takes a free one."
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses of reverse proxies, with commas between them, whose X-Forwarded headers are "
        "believed; without them the rate limit of log-ins sees the proxy as the one address of all.",
    )
    max_connections: int = Field(
        default=4_000,
        ge=16,
        description="Connections that the server holds at once, in each process; a quarter of them may come "
        "from one address (of IPv6: from one /64) that is no trusted proxy.",
    )
    secret_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Keys for contact values and connector secrets, as id:base64 (32 bytes), with commas "
        "between them, newest first, :retired behind one that is retired; empty means a key file in the data "
        "folder, made at the first start.",
    )
    session_days: int = Field(
        default=14, ge=1, le=90, description="Days after which a member must sign in again."
    )
    webhook_tolerance_s: int = Field(
        default=300, ge=5, le=3600, description="Greatest age, in seconds, of a webhook's signature."
    )
    api_requests_per_minute: int = Field(
        default=6_000,
        ge=0,
        description="Requests of one access token in a minute, in each process; more are refused with code "
        "40100. 0 means no limit.",
    )
    new_visitors_per_hour: int = Field(
        default=2_000,
        ge=0,
        description="Messages, photos and forms of people who have not written before that one chat takes "
        "from one network (an IPv4 address, or a /64 of IPv6) in an hour, at most 500 of them at once. A "
        "mobile carrier puts thousands of people behind one address. 0 means no limit.",
    )
    chat_link_taps_per_day: int = Field(
        default=50,
        ge=0,
        description="Taps on the chat link of an ad that count from one network (an IPv4 address, or a /64 "
        "of IPv6) in a day; one person counts once a day anyhow. 0 means no limit.",
    )
    worker: Literal["in_process", "separate"] = Field(
        default="in_process",
        description="Who does the background work: `serve` itself, or, on PostgreSQL, processes of "
        "`contatto worker`.",
    )
    platform_urls: dict[str, str] = Field(
        default={},
        description="Addresses that replace those of a platform's API, as JSON such as "
        '{"tiktok": "https://sandbox-ads.tiktok.com"}: for a sandbox or a gateway.',
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Outside systems that may have a private address or no https, as host:port, or host:* "
        "for all ports, with commas between them; all others must be public and speak https.",
    )
    smtp_url: str = Field(
        default="",
        description="The mail server, such as smtps://user:password@mail.example.com:465; smtp:// turns to "
        "TLS as soon as the server offers it. Empty: no mails; links that would be sent are shown to copy.",
    )
    mail_from: str = Field(
        default="",
        description="From of mails, such as Contatto <contatto@example.com>; needed with smtp_url.",
    )
    capture_review: Literal["automatic", "operator"] = Field(
        default="automatic",
        description="Whether lead capture is approved at once, or by `contatto capture approve`.",
    )
    ad_review: Literal["automatic", "operator"] = Field(
        default="automatic", description="Whether ads may be shown at once, or after `contatto ads approve`."
    )
    jobs_per_business: int = Field(
        default=2, ge=1, le=100, description="Jobs on many leads that run at once for one business."
    )
    seal_after_days: int = Field(
        default=2, ge=0, description="Days after which touches are sealed as Parquet; 0: by `contatto seal`."
    )
    sealed_dir: Path | None = Field(
        default=None,
        description="Folder of the sealed files. By default `sealed` in the data folder with SQLite; with "
        "PostgreSQL nothing is sealed by itself until it is set, to a folder that all machines share.",
    )
    hot_log_days: int = Field(
        default=30,
        ge=0,
        description="Age in days at which views that are sealed and counted leave the database: from then on "
        "only the sealed files hold them. At least 30, since a window may have 28; 0 keeps all of them.",
    )
    decision_log_days: int = Field(
        default=14,
        ge=1,
        le=90,
        description="Days for which decisions can be learned, explained and replayed.",
    )
    decision_files_days: int = Field(
        default=90, ge=0, le=730, description="Days for which decisions are kept in sealed files; 0: in none."
    )
    relearn_at_night: bool = Field(default=True, description="Learn sealed decisions again each night.")
    views_per_viewer: int = Field(
        default=0, ge=0, description="Most views of an ad group by a consenting viewer in a day; 0: no limit."
    )
    trial_share: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share of viewers with consent in the random arm, which measures the lift.",
    )
    metrics_token: str = Field(
        default="", description="Bearer token of `GET /metrics` for monitoring; empty: there is no such page."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line that is logged."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="One JSON object a line, or text for a terminal."
    )

    @field_validator("secret_keys", "allowed_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("hot_log_days")
    @classmethod
    def _no_window_is_longer(cls, value: int) -> int:
        if 0 < value < LEAST_HOT_DAYS:
            raise ValueError(f"a window may have 28 days: say {LEAST_HOT_DAYS} or more, or 0 to keep all")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_mail_server(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.scheme in ("smtp", "smtps") and parts.hostname):
            raise ValueError("say smtp://host:port or smtps://host:port, with user:password@ if needed")
        return value

    @model_validator(mode="after")
    def _mails_have_a_sender(self) -> Self:
        if self.smtp_url:
            try:
                checked_email(parseaddr(self.mail_from)[1])
            except InvalidEmail as error:
                raise ValueError("with smtp_url, mail_from must name an address") from error
        return self

    @model_validator(mode="after")
    def _links_follow_the_server(self) -> Self:
        address = self.base_url.rstrip("/")
        if not address:
            host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  (compared)
            host = f"[{host}]" if ":" in host and not host.startswith("[") else host
            address = f"http://{host}:{self.port}"
            self.model_fields_set.discard("base_url")  # for `link_address`: none is configured
        object.__setattr__(self, "base_url", address)
        return self

    def record_address(self) -> None:
        """Store the address of a starting server, for links in commands."""
        (self.data_dir / _ADDRESS_FILE).write_text(self.base_url, "utf-8")

    @property
    def link_address(self) -> str:
        """Return the address for links in commands: the configured one, or that of the last server."""
        if "base_url" in self.model_fields_set:
            return self.base_url
        try:
            return (self.data_dir / _ADDRESS_FILE).read_text("utf-8") or self.base_url
        except OSError:
            return self.base_url

    @property
    def sends_mail(self) -> bool:
        return bool(self.smtp_url)

    @property
    def needs_ad_review(self) -> bool:
        return self.ad_review == "operator"

    @property
    def url(self) -> str:
        """Return the SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'contatto.sqlite3'}"

    @property
    def sealed_folder(self) -> Path | None:
        """Return the folder of automatically sealed days; None without automatic sealing."""
        if not self.seal_after_days:
            return None
        chosen = self.sealed_dir or (None if self.database_url else self.data_dir / "sealed")
        return chosen and chosen.resolve()

    @property
    def secure_cookies(self) -> bool:
        """Return whether cookies are Secure, as the public address uses https."""
        return self.base_url.startswith("https://")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read from arguments, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
