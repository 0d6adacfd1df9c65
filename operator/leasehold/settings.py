"""What an administrator can set: one frozen model, the only reader of flags and environment.

Each field is a flag (--status-freshness), an environment variable (LEASEHOLD_STATUS_FRESHNESS) and a chart value; a
flag wins over the environment, the environment over the default. Command line, reference page and chart are made from
`describe`, so a setting is written down once. Nothing here acts on a setting, and only `cli` and `app` may read one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from leasehold.api import duration
from leasehold.domain.errors import Misconfigured
from leasehold.telemetry import address
from leasehold.telemetry.address import Address

PREFIX = "LEASEHOLD_"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where the kubelet tells a pod its namespace, unless automountServiceAccountToken is off."""
_LEVELS = {"warning": "warn", "dpanic": "error", "panic": "error", "fatal": "error"}


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    seconds = duration.parse(value)
    if seconds < 0:
        raise ValueError("must not be negative; write a duration such as 0s, 30s or 5m")
    return seconds


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be more than nothing; write a duration such as 30s or 5m")
    return seconds


def _address(value: object) -> Address | None:
    return address.parse(value) if isinstance(value, str) else Address(*value) if isinstance(value, tuple) else None


def _level(value: object) -> object:
    """Take zap's other names of the levels too, as External Secrets Operator does."""
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Kind:
    """The word by which help and reference page name what a setting takes."""

    word: str


Seconds: TypeAlias = Annotated[float, BeforeValidator(_seconds), Kind("duration")]
"""A Go duration outside ("5m"), seconds inside; zero has a meaning."""
Span: TypeAlias = Annotated[Seconds, AfterValidator(_positive)]
"""A duration that must not be zero."""
Count: TypeAlias = Annotated[int, Field(ge=1, le=10_000), Kind("count")]
Listen: TypeAlias = Annotated[Address | None, NoDecode, PlainValidator(_address), Kind("address")]
"""A listen address; None does not listen."""
Level: TypeAlias = Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)]


class Group(StrEnum):
    """The headings under which help and reference page list the settings."""

    SCOPE = "Scope"
    WORK = "Work"
    LEASES = "Leases"
    VAULT = "Vault"
    SIGNALS = "Signals"


def _setting(default: str, text: str, *, chart: str, group: Group) -> Any:
    """Return a field with what help, reference page and chart need; ``default`` is text as a user would write it."""
    return Field(
        default=default,
        validate_default=True,
        description=text,
        json_schema_extra={"group": group.value, "chart": chart, "default": default},
    )


_scope = partial(_setting, group=Group.SCOPE)
_work = partial(_setting, group=Group.WORK)
_leases = partial(_setting, group=Group.LEASES)
_vault = partial(_setting, group=Group.VAULT)
_signals = partial(_setting, group=Group.SIGNALS)


class Settings(BaseSettings):
    """All settings, checked. Durations are seconds."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    namespace: str = _scope("", "Watch only this namespace; empty watches all of them.", chart="scopedNamespace")
    controller_class: str = _scope(
        "default",
        "Reconcile objects whose store has this spec.controller, or none; others are left untouched.",
        chart="controllerClass",
    )
    enable_cluster_store_reconciler: bool = _scope(
        "true",
        "Use ClusterSecretStores. Off, an ExternalSecret that names one is left untouched.",
        chart="processClusterStore",
    )
    enable_secret_store_reconciler: bool = _scope(
        "true", "Validate SecretStores and keep their Ready condition.", chart="processSecretStore"
    )
    operator_namespace: str = _scope(
        "",
        "Namespace of the operator, which holds its lease records; empty takes POD_NAMESPACE or the pod's own.",
        chart="operatorNamespace",
    )
    kubeconfig: str = _scope(
        "",
        "File with the address of the API server and our credentials; empty takes KUBECONFIG, then the pod's own"
        " account, then ~/.kube/config.",
        chart="kubeconfig",
    )

    concurrent: Count = _work("32", "Objects that are worked on at once.", chart="concurrent")
    backend_concurrency: Count = _work("16", "Requests to one backend address at once.", chart="backendConcurrency")
    kube_concurrency: Count = _work("16", "Requests to the API server at once, watches aside.", chart="kubeConcurrency")
    store_requeue_interval: Span = _work(
        "5m",
        "How often a store is validated again, unless its spec.refreshInterval says otherwise.",
        chart="storeRequeueInterval",
    )
    enable_flood_gate: bool = _work(
        "true",
        "Do not read from a store whose Ready condition is False; who logs in as its own workload still may.",
        chart="enableFloodGate",
    )
    status_freshness: Seconds = _work(
        "5m",
        "A refresh that changed nothing moves status.refreshTime once it is older than this; 0 moves it at every"
        " refresh, which costs one write per object and refresh.",
        chart="statusFreshness",
    )
    shutdown_grace_period: Seconds = _work(
        "20s",
        "How long passes under way may take to end after SIGTERM. Must be less than the pod's"
        " terminationGracePeriodSeconds.",
        chart="shutdownGracePeriod",
    )

    default_grace_period: Seconds = _leases(
        "5m",
        "Life left to a replaced credential once its rollout is verified, where spec.lease.gracePeriod is absent.",
        chart="leases.defaultGracePeriod",
    )
    revoke_deadline: Seconds = _leases(
        "10m",
        "For how long the revocation of a deleted ExternalSecret's leases is tried; after that they are left to end by"
        " themselves, and an event says so.",
        chart="leases.revokeDeadline",
    )

    vault_operator_role: str = _vault(
        "",
        "Vault role by which the operator itself logs in to renew and revoke leases (leasehold policy prints what it"
        " may do). Empty: the operator has no Vault identity, and a restart costs one planned rotation per lease.",
        chart="vault.operatorRole",
    )
    vault_operator_mount: str = _vault(
        "kubernetes", "Mount of the Kubernetes auth method that knows the operator's role.", chart="vault.operatorMount"
    )
    vault_operator_audience: str = _vault(
        "",
        "Audience of the token for the operator's own login; empty presents the token mounted into the pod.",
        chart="vault.operatorAudience",
    )

    metrics_addr: Listen = _signals(":8080", "Address of /metrics; 0 turns it off.", chart="metrics.address")
    live_addr: Listen = _signals(
        ":8082", "Address of /healthz, /livez and /readyz; 0 turns it off.", chart="probes.address"
    )
    loglevel: Level = _signals("info", "Least level that is logged: debug, info, warn or error.", chart="log.level")
    log_format: Literal["json", "console"] = _signals(
        "json", "How log lines are written: json, or console for human eyes.", chart="log.format"
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is written down: `describe` gives all of them."""

    name: str
    flag: str
    env: str
    chart: str
    """Path in the chart's values, such as log.level."""
    kind: str
    """bool | count | duration | address | text, or the choices joined by a bar."""
    default: str
    """As a user would write it."""
    group: str
    description: str

    @property
    def switch(self) -> bool:
        """True where the flag alone means true, as with Go's flags."""
        return self.kind == "bool"


def describe() -> tuple[Setting, ...]:
    """Return every setting, in the order of the model."""
    return tuple(_describe(name) for name in Settings.model_fields)


def load(flags: Mapping[str, str], *, namespace_file: Path = NAMESPACE_FILE) -> Settings:
    """Return the settings of this process: ``flags`` (field name -> text) over environment over defaults.

    Raises Misconfigured, with every fault on a line of its own that names the flag and what would do.
    """
    given: dict[str, Any] = dict(flags)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise Misconfigured("\n".join(_fault(fault) for fault in error.errors(include_url=False))) from None
    changes: dict[str, Any] = {}
    if not settings.operator_namespace:
        changes["operator_namespace"] = _own_namespace(namespace_file)
    if not settings.kubeconfig:
        changes["kubeconfig"] = os.environ.get("KUBECONFIG", "")
    return settings.model_copy(update=changes)


def _own_namespace(namespace_file: Path) -> str:
    named = os.environ.get("POD_NAMESPACE", "")
    if not named and namespace_file.is_file():
        named = namespace_file.read_text(encoding="utf-8").strip()
    if not named:
        raise Misconfigured(
            "--operator-namespace is not known outside a pod",
            remedy="name the namespace that holds the operator's lease records, or set POD_NAMESPACE",
        )
    return named


def _describe(name: str) -> Setting:
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return Setting(
        name=name,
        flag="--" + name.replace("_", "-"),
        env=PREFIX + name.upper(),
        chart=str(extra["chart"]),
        kind=_kind(name),
        default=str(extra["default"]),
        group=str(extra["group"]),
        description=field.description or "",
    )


def _kind(name: str) -> str:
    field = Settings.model_fields[name]
    for mark in field.metadata:
        if isinstance(mark, Kind):
            return mark.word
    if choices := get_args(field.annotation):
        return "|".join(str(choice) for choice in choices)
    return "bool" if field.annotation is bool else "text"


def _fault(fault: Any) -> str:
    """Return one fault as a sentence: flag, what is wrong, what would do, and the variable that may hold it."""
    name = str(fault["loc"][0])
    if name not in Settings.model_fields:
        return f"{name} is not a setting"
    setting = _describe(name)
    clause = _clause(fault, setting)
    return f"{setting.flag} {clause} (given {fault['input']!r}; also read from {setting.env})"


def _clause(fault: Any, setting: Setting) -> str:
    match fault["type"]:
        case "value_error":
            return str(fault["ctx"]["error"])
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "int_parsing" | "int_type" | "greater_than_equal" | "less_than_equal":
            return "must be a whole number from 1 to 10000"
        case "literal_error":
            return f"must be one of {setting.kind.replace('|', ', ')}"
        case _:
            return f"must be a {setting.kind}"
