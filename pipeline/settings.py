"""Every setting, read once from the environment (`READFIRST_…`, nested by `__`) or a TOML file, at the edge.

Example: `READFIRST_KAFKA__BOOTSTRAP_SERVERS=broker:9093 READFIRST_KAFKA__SECURITY_PROTOCOL=SASL_SSL readfirst up --external`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from pipeline.errors import StackError


def default_data_dir() -> Path:
    """The user's data folder (XDG Base Directory), `readfirst` below it."""
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "readfirst"


def _no_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    open_ = {name: value for name, value in values.items() if not isinstance(value, SecretStr)}
    return {name: _no_secrets(value) if isinstance(value, dict) else value for name, value in open_.items()}


class Kafka(BaseModel):
    """How to reach Kafka. The SASL and TLS names are librdkafka's."""

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "readfirst."
    partitions: int = Field(8, ge=1, description="the same for all input topics; cannot change later")
    replication_factor: int = Field(1, ge=1)
    group_instance_id: str | None = Field(
        None, description="static membership (KIP-345): an agent that was killed and comes back under this name takes over at once"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None


class Postgres(BaseModel):
    """How to reach Postgres; `dsn` is a libpq URI, TLS options included (`?sslmode=verify-full`)."""

    dsn: SecretStr = SecretStr("postgresql://readfirst@127.0.0.1:5432/readfirst")
    pool_max: int = Field(8, ge=1)
    keep_days: int = Field(30, ge=1, description="how long facts, receipts and closed studies are kept; the vault's audit stays for ever")


class Triton(BaseModel):
    """How to reach Triton's gRPC endpoint; None means: no Triton, score in-process and say so."""

    url: str | None = "127.0.0.1:8001"
    model: str = "clinical_risk"
    deadline_s: float = Field(0.5, gt=0, description="client time limit of one request, seconds")
    image_deadline_s: float = Field(10.0, gt=0, description="the same for a batch of pictures")
    repository: Path | None = Field(
        None, description="the folder that Triton serves, where no local stack keeps one: `run models` builds it, `promote` changes it"
    )
    flavour: Literal["cpu", "gpu"] = Field("cpu", description="what the repository is built for")
    control: str | None = Field(None, description="host:port; every address it has is a Triton that is told of a promotion; None: url")


class Gateways(BaseModel):
    """Where the gateways listen and what they accept."""

    host: str = "127.0.0.1"
    dicom_port: int = 11112
    ae_title: str = "READFIRST"
    mllp_port: int = 2575
    http_port: int = Field(8090, description="STOW-RS and FHIR")
    dicom_associations_max: int = 32
    dicom_require_called_ae_title: bool = Field(False, description="reject associations that call another AE title than ours")
    dicom_medium: Literal["asap", "urgent", "routine"] = Field(
        "urgent", description="what MEDIUM in (0040,1003) means here: the standard does not say whether it is above ROUTINE"
    )
    dicom_pdu_max_bytes: int = 1 << 20
    object_max_bytes: int = Field(2 << 30, description="the largest DICOM object accepted")
    fhir_body_max_bytes: int = Field(32 << 20, description="the largest FHIR request body accepted, packed or unpacked")
    mllp_message_max_bytes: int = Field(8 << 20, description="the largest HL7 message accepted")
    mllp_idle_timeout_s: float = 60.0
    mllp_connections_per_peer_max: int = 200
    mllp_tls_certificate: Path | None = Field(None, description="PEM chain; with mllp_tls_key the MLLP port speaks TLS")
    mllp_tls_key: Path | None = None
    mllp_tls_client_ca: Path | None = Field(None, description="PEM; senders must then show a certificate of this authority")
    hl7_default_charset: str = Field("utf-8", description="Python codec of messages whose MSH-18 is empty")
    hl7_processing_ids: list[str] = Field(["P", "T", "D"], description='MSH-11 values accepted; a production port sets ["P"]')
    assigning_authority: str = Field("HOSP", description="used where a message names no assigning authority")
    authorities: dict[str, str] = Field(
        default_factory=dict, description="other names of an authority (FHIR identifier system, OID) -> the one name the keys are made with"
    )
    default_time_zone: str = Field("Europe/Berlin", description="IANA zone of sources that send local times without offset")
    time_zones: dict[str, str] = Field(
        default_factory=dict,
        description="facility, application, AE title, or HTTP sender (header X-Readfirst-Source) -> IANA zone",
    )
    dead_letters_max: int = Field(1000, ge=1, description="so many dead letters that nobody has settled stop the intake")
    quiet_study_s: float = Field(30.0, description="a study without a new image for so long counts as complete")


class Web(BaseModel):
    """The worklist web application."""

    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: list[str] = Field(
        ["127.0.0.1", "localhost", "[::1]", "::1"],
        description="names under which browsers reach the page, without port; any other is refused, which stops DNS rebinding",
    )
    public_url: str | None = Field(None, description="address of the page in alert messages, https://…; None: http://host:port")

    @property
    def address(self) -> str:
        """Where people reach the page, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


class Telemetry(BaseModel):
    """Where a role serves /metrics, /livez and /readyz. On one machine each role needs a port of its own: the local stack gives it one."""

    host: str = "127.0.0.1"
    port: int | None = Field(None, description="None: not served, and histograms not kept")
    otlp_endpoint: str | None = Field(None, description="URL of an OTLP/HTTP collector (…/v1/traces); None: no traces")
    traces_share: float = Field(1.0, ge=0, le=1, description="share of the messages that are traced, the same in every role")


class Settings(BaseSettings):
    """All settings. Secrets print masked."""

    model_config = SettingsConfigDict(env_prefix="READFIRST_", env_nested_delimiter="__", extra="forbid")

    data: Path = Field(default_factory=default_data_dir, description="the one folder that holds all local state")
    site_key: SecretStr | None = Field(
        default=None, description="HMAC and vault key, 32 bytes hex; the local stack makes one in `data/site.key`"
    )
    models: Path | None = Field(None, description="where the versions of models lie; None: `data/models`")
    site_file: Path | None = Field(None, description="the site's rules (YAML, `readfirst site show`); read again when it changes")
    kafka: Kafka = Kafka()
    postgres: Postgres = Postgres()
    triton: Triton = Triton()
    gateways: Gateways = Gateways()
    web: Web = Web()
    telemetry: Telemetry = Telemetry()
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the TOML file named by READFIRST_CONFIG."""
        file = os.environ.get("READFIRST_CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, toml_file=file),) if file else ()
        return (init_settings, env_settings, *toml)

    def told(self) -> dict[str, Any]:
        """All that is no secret, as JSON has it, files from the root: of `Settings(**told)` the environment tells secrets alone."""
        text = json.dumps(_no_secrets(self.model_dump()), default=lambda file: str(file.absolute()))
        told: dict[str, Any] = json.loads(text)
        return told

    @property
    def models_dir(self) -> Path:
        """Where the versions of models are that this site has trained or taken over."""
        return self.models or self.data / "models"

    @property
    def objects_dir(self) -> Path:
        """Where the local object store keeps DICOM objects."""
        return self.data / "objects"


def site_key(settings: Settings) -> bytes:
    """The key of pseudonyms and vault. Raises StackError where none is set."""
    if settings.site_key is None:
        raise StackError(
            "no site key is set", "set READFIRST_SITE_KEY to 64 hex digits (openssl rand -hex 32) and keep it: it cannot change later"
        )
    try:
        key = bytes.fromhex(settings.site_key.get_secret_value())
    except ValueError as error:
        raise StackError("the site key is not hexadecimal", "set READFIRST_SITE_KEY to 64 hex digits") from error
    if len(key) != 32:
        raise StackError(f"the site key has {len(key)} bytes, not 32", "set READFIRST_SITE_KEY to 64 hex digits")
    return key
