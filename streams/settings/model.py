"""Settings: one model, filled from flags, ``SALESGAUGE_*`` variables and a YAML file, in this order of precedence.

Nested fields are written with two underscores in variables: ``SALESGAUGE_RULES__ZONE=Europe/Berlin``. Secrets are
never printed; `doctor` shows everything else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from salesgauge.metrics.rules.model import Rules
from salesgauge.streams.settings.explanations import explain
from salesgauge.streams.settings.file import SettingsError, read_file, read_value

ENV_PREFIX = "SALESGAUGE_"
DEFAULT_WORKER_PORT = 9109
_PORTS = 65536


class _Connection(ssl.SSLObject):
    """Says farewell when it closes and waits for no answer; asyncio would wait half a minute for a broker's."""

    def unwrap(self) -> None:
        """Write the farewell."""
        with contextlib.suppress(ssl.SSLWantReadError):
            super().unwrap()


class Tls(BaseModel):
    """Certificates as PEM files."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ca_file: Path | None = None
    """Certificate of the authority to trust (PEM). For `kafka` it signed the brokers' certificates; for `web` it is
    what `doctor` trusts when it asks the exporter. Unset: the system's authorities."""
    cert_file: Path | None = None
    """Certificate (PEM). For `kafka` the client certificate of mutual TLS; for `web` the server's, needed for HTTPS."""
    key_file: Path | None = None
    """Private key (PEM), if it is not in `cert_file`."""
    key_password: SecretStr | None = None
    """Password of the private key. Secret."""

    def client_context(self) -> ssl.SSLContext:
        """A context for connecting: the broker's certificate is verified, one's own is shown if given.

        Raises:
            SettingsError: a file cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file, self._password())
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"kafka.tls: {error}; check the paths of the certificates") from error
        context.sslobject_class = _Connection
        return context

    def server_context(self) -> ssl.SSLContext:
        """A context for serving.

        Raises:
            SettingsError: a file is missing or cannot be read.
        """
        if self.cert_file is None:
            raise SettingsError("tls.cert_file is required to serve with TLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert_file, self.key_file, self._password())
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"tls: {error}; check the paths of the certificates") from error
        return context

    def _password(self) -> str | None:
        return self.key_password.get_secret_value() if self.key_password else None


class Sasl(BaseModel):
    """How to log in to Kafka. ``OAUTHBEARER`` reads the token from ``token_file`` whenever it connects."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`. Required."""
    username: str | None = None
    """User name, for all mechanisms but `OAUTHBEARER`."""
    password: SecretStr | None = None
    """Password of that user. Secret."""
    token_file: Path | None = None
    """File with the token for `OAUTHBEARER`. It is read at each login, so the token can be rotated."""

    @model_validator(mode="after")
    def _complete(self) -> Sasl:
        if self.mechanism == "OAUTHBEARER":
            if self.token_file is None:
                raise ValueError("token_file is required with OAUTHBEARER")
        elif not self.username or self.password is None:
            raise ValueError(f"username and password are required with {self.mechanism}")
        return self


class Kafka(BaseModel):
    """Where Kafka is and how its topics are laid out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bootstrap: str = "127.0.0.1:9092"
    """Brokers to connect to first: `host:port`, separated by commas."""
    tls: Tls | None = None
    """Encrypt connections to Kafka. `{}` trusts the system's authorities."""
    sasl: Sasl | None = None
    """Log in to Kafka."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    """Partitions of each topic. This is the greatest number of workers. A change needs a
    [rebuild](operations.md#rebuild)."""
    replication: Annotated[int, Field(ge=1, le=10)] = 1
    """Replicas of the topics that `topics create` makes. Use 3 in production."""
    session_seconds: Annotated[float, Field(ge=1, le=60)] = 6.0
    """A worker that sends no heartbeat for this many seconds loses its partitions to the others."""
    start_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """How many seconds a worker, an exporter or an ingest that starts waits for Kafka to answer, before it ends with an
    error. Once started, they wait as long as it takes."""
    produce_seconds: Annotated[float, Field(ge=1, le=600)] = 30.0
    """If Kafka does not acknowledge a write within this many seconds, it is sent again, until Kafka answers. Nothing of
    the batch is committed before."""
    retention_days: Annotated[int, Field(ge=-1)] = -1
    """How many days events are kept. -1 keeps them for ever, so that a rebuild can use the whole history."""

    @field_validator("bootstrap")
    @classmethod
    def _brokers(cls, value: str) -> str:
        for one in value.split(","):
            port = re.fullmatch(r"\s*(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})\s*", one)
            if port is None or not 0 < int(port[1]) < _PORTS:
                raise ValueError(f"{one.strip()!r} is not host:port; write it as kafka-1:9092,kafka-2:9092")
        return value


class Web(BaseModel):
    """Where a process listens, and who may read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9108
    """Port to listen on."""
    tls: Tls | None = None
    """Serve HTTPS instead of HTTP."""
    token: SecretStr | None = None
    """Bearer token that readers must send. Secret."""
    username: str | None = None
    """User name for basic authentication. It can be used together with the token, or instead of it."""
    password: SecretStr | None = None
    """Password for basic authentication. Secret."""

    @model_validator(mode="after")
    def _guarded(self) -> Web:
        for name in ("token", "password"):
            secret: SecretStr | None = getattr(self, name)
            if secret is not None and not secret.get_secret_value():
                raise ValueError(f"{name} is empty and would protect nothing; set a value, or leave it unset")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        return self


class WorkerWeb(Web):
    """Where a worker shows its own metrics."""

    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_WORKER_PORT
    """Port to listen on. 0 takes a free one, for several workers on one machine."""
    advertise: str | None = None
    """Address at which exporters reach this worker, such as `http://10.0.0.5:9109`; without a port, that of `port`.
    Unset: `host`, or the name of the machine if `host` is `0.0.0.0`."""

    @field_validator("advertise")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/?#@]+", value):
            raise ValueError(f"{value!r} is no address such as http://10.0.0.5:9109")
        return value


class IngestWeb(Web):
    """Where webhooks are received. Who may send is up to each source's signature, not to a token."""

    port: Annotated[int, Field(ge=0, le=65535)] = 9110
    """Port that receives webhooks."""


class IngestMetricsWeb(Web):
    """Where ingest shows its metrics."""

    port: Annotated[int, Field(ge=0, le=65535)] = 9111


class Ingest(BaseModel):
    """How records of other systems come in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sources: Path | None = None
    """The file of a source, or a folder of such files."""
    web: IngestWeb = IngestWeb()
    metrics_web: IngestMetricsWeb = IngestMetricsWeb()
    raw_retention_days: Annotated[int, Field(ge=-1)] = 90
    """How many days received records are kept in their original form; -1 for ever. A changed mapping can be applied to
    what is kept."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=5 * 2**20)] = 2**20
    """Largest body of a request, in bytes. Larger ones are answered with 413."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Greatest number of open connections."""
    max_pending_bytes: Annotated[int, Field(ge=2**20)] = 64 * 2**20
    """Most bytes of requests that wait for Kafka. Beyond it, senders are asked to try again later (503)."""
    max_rate: Annotated[float, Field(gt=0)] = 10_000.0
    """Most requests per second from one source. Beyond it, the sender is asked to slow down (429)."""
    ack_seconds: Annotated[float, Field(gt=0, le=60)] = 4.0
    """A request is answered within this many seconds, with 503 if Kafka has not acknowledged the records. HubSpot waits
    for five seconds."""
    read_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """How many seconds a sender may take for the headers, and again for the body of a request."""


_LINKED = ("lead", "deal", "account", "rep")


class Settings(BaseSettings):
    """All settings, with defaults for a broker on this machine."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    app_id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")] = "salesgauge"
    """Name of the installation: the prefix of its consumer groups and of its own topics."""
    version: Annotated[int, Field(ge=1)] = 1
    """Version of the state. Leave it unset: processes then follow the active version
    ([rebuild](operations.md#rebuild))."""
    kafka: Kafka = Kafka()
    web: Web = Web()
    worker_web: WorkerWeb = WorkerWeb()
    batch: bool = True
    """Take whole batches of a partition per step. `false` uses Faust's own delivery of single messages."""
    publish_every: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Shortest time between two publications of changed panes, in seconds."""
    build_processes: Annotated[int, Field(ge=0, le=64)] | None = None
    """Number of processes that help a worker to build its panes after a recovery. Unset: one for each other core, at
    most 3."""
    ready_lag: Annotated[int, Field(ge=0)] = 10_000
    """An exporter is ready while it is at most this many records behind."""
    thresholds: Path | None = None
    """A file with `targets` for the built-in board, such as `prometheus/thresholds.yml`. Unset: the shipped targets."""
    links: dict[str, str] = {}
    """Where a record is in your CRM: by kind (`lead`, `deal`, `account`, `rep`), an address with `{id}` for its id. For
    example `lead: https://crm.example/leads/{id}`. Explanations and lists of records then link to it."""
    ingest: Ingest = Ingest()
    rules: Rules = Rules()

    @field_validator("links")
    @classmethod
    def _addresses(cls, value: dict[str, str]) -> dict[str, str]:
        for kind, template in value.items():
            if kind not in _LINKED:
                raise ValueError(f"{kind!r} is no kind of record; there are {', '.join(_LINKED)}")
            if "{id}" not in template or not template.startswith(("https://", "http://")):
                raise ValueError(f"{kind}: {template!r} is no address such as https://crm.example/leads/{{id}}")
        return value

    @property
    def application(self) -> str:
        """The consumer group of the workers."""
        return f"{self.app_id}-v{self.version}"

    @property
    def windows_topic(self) -> str:
        """The topic of published panes."""
        return f"{self.app_id}.windows.v{self.version}"

    @property
    def rekey_topic(self) -> str:
        """The topic of facts on their way to another partition."""
        return f"{self.app_id}.rekeyed.v{self.version}"

    @property
    def identity_topic(self) -> str:
        """The topic of merges of leads and accounts, which every worker reads whole."""
        return f"{self.app_id}.identities.v{self.version}"

    @property
    def dead_letter_topic(self) -> str:
        """The topic of records that could not be processed."""
        return f"{self.app_id}.dead-letters"

    def files(self) -> list[Path]:
        """All files that the settings name: certificates, tokens, targets."""
        return [value for value in _flat(self.model_dump()).values() if isinstance(value, Path)]

    @property
    def control_topic(self) -> str:
        """The topic that says which version is the active one."""
        return f"{self.app_id}.control"

    def raw_topic(self, source: str) -> str:
        """The topic of a source's records as they came."""
        return f"{self.app_id}.raw.{source}"

    def memory_topic(self, source: str) -> str:
        """The topic of what is remembered of a source's objects."""
        return f"{self.app_id}.memory.{source}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before variables; :func:`load` puts the flags and the file into the arguments."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _VariableSource(settings_cls)


class _VariableSource(EnvSettingsSource):
    """Values of the variables; what holds more than one value is written as in the file, or as JSON."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """Text that is neither stays as it is, so that what is said about it names the setting."""
        del field_name, field
        return read_value(value)


def load(config: Path | None = None, flags: dict[str, Any] | None = None) -> Settings:
    """Read the settings.

    Args:
        config: a YAML file with the fields of :class:`Settings`.
        flags: values given on the command line, by dotted path; None is "not given".

    Raises:
        SettingsError: a value is missing, unknown or not valid.
    """
    given: dict[str, Any] = {}
    for path, value in (flags or {}).items():
        if value is not None:
            _set(given, path.split("."), value)
    in_file = read_file(config) if config else {}
    try:
        return Settings(**_over(_over(in_file, _VariableSource(Settings)()), given))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, _variables())) from error
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"settings: {error}") from error


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where ``upper`` goes first; groups of fields are united."""
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = _over(below, value) if both else value  # type: ignore[arg-type]
    return merged


class Origin(NamedTuple):
    """A setting as it stands: dotted path, value as text (secrets hidden) and where it comes from."""

    path: str
    value: str
    origin: str


def origins(settings: Settings, config: Path | None = None, flags: Mapping[str, Any] | None = None) -> list[Origin]:
    """All settings, each with its source: flag, the variable's name, the file's name, or default."""
    given = {path for path, value in (flags or {}).items() if value is not None}
    in_file = set(_flat(read_file(config))) if config else set()
    found = []
    for path, value in _flat(settings.model_dump(mode="python")).items():
        if _among(path, given):
            origin = "flag"
        elif variable := next((name for name, p in _variables().items() if _among(path, {p})), None):
            origin = variable
        else:
            origin = str(config) if _among(path, in_file) else "default"
        found.append(Origin(path, _text(value), origin))
    return found


def unknown_variables() -> list[str]:
    """Variables with our prefix that are no setting: they would be ignored without a word."""
    return [name for name, path in _variables().items() if path.split(".")[0] not in Settings.model_fields]


def _variables() -> dict[str, str]:
    """Name -> dotted path, of the variables with our prefix."""
    return {
        name: name[len(ENV_PREFIX) :].lower().replace("__", ".")
        for name in sorted(os.environ)
        if name.upper().startswith(ENV_PREFIX)
    }


def _among(path: str, given: set[str]) -> bool:
    """Whether the path, or a part that holds it, or a part of it, is among these."""
    return any(path == one or path.startswith(one + ".") or one.startswith(path + ".") for one in given)


def _flat(fields: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted path -> value."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(a secret)"
    if value is None:
        return "none"
    return str(sorted(value, key=str) if isinstance(value, set | frozenset) else value)


def _set(target: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    inner = functools.reduce(lambda d, key: d.setdefault(key, {}), parents, target)
    inner[last] = value
