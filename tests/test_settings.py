"""Flags over environment over defaults; every fault names its flag and what would do."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from leasehold import settings
from leasehold.domain.errors import Misconfigured
from leasehold.settings import Settings
from leasehold.telemetry.address import Address

BASE = {"operator_namespace": "leasehold"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings.describe():
        monkeypatch.delenv(setting.env, raising=False)
    for name in ("POD_NAMESPACE", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_defaults() -> None:
    loaded = settings.load(BASE)
    assert loaded.model_dump() == {
        "namespace": "",
        "controller_class": "default",
        "enable_cluster_store_reconciler": True,
        "enable_secret_store_reconciler": True,
        "operator_namespace": "leasehold",
        "kubeconfig": "",
        "concurrent": 32,
        "backend_concurrency": 16,
        "kube_concurrency": 16,
        "store_requeue_interval": 300.0,
        "enable_flood_gate": True,
        "status_freshness": 300.0,
        "shutdown_grace_period": 20.0,
        "default_grace_period": 300.0,
        "revoke_deadline": 600.0,
        "vault_operator_role": "",
        "vault_operator_mount": "kubernetes",
        "vault_operator_audience": "",
        "metrics_addr": Address("", 8080),
        "live_addr": Address("", 8082),
        "loglevel": "info",
        "log_format": "json",
    }


def test_flag_wins_over_environment_and_environment_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASEHOLD_CONCURRENT", "5")
    monkeypatch.setenv("LEASEHOLD_STATUS_FRESHNESS", "1m30s")
    loaded = settings.load({**BASE, "concurrent": "7"})
    assert (loaded.concurrent, loaded.status_freshness) == (7, 90.0)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASEHOLD_CONCURRENT", "")
    assert settings.load(BASE).concurrent == 32


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        settings.load(BASE).concurrent = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("status_freshness", "0", 0.0),
        ("status_freshness", "1h0m0s", 3600.0),
        ("enable_flood_gate", "false", False),
        ("enable_flood_gate", "T", True),
        ("metrics_addr", "0", None),
        ("metrics_addr", "127.0.0.1:0", Address("127.0.0.1", 0)),
        ("loglevel", "WARN", "warn"),
        ("loglevel", "warning", "warn"),
        ("loglevel", "dpanic", "error"),
    ],
)
@pytest.mark.parametrize("road", ["flag", "environment"])
def test_texts_become_values(road: str, name: str, text: str, wanted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if road == "environment":
        monkeypatch.setenv(settings.PREFIX + name.upper(), text)
        loaded = settings.load(BASE)
    else:
        loaded = settings.load({**BASE, name: text})
    assert getattr(loaded, name) == wanted


@pytest.mark.parametrize(
    ("name", "text", "clause"),
    [
        ("concurrent", "many", "must be a whole number from 1 to 10000"),
        ("concurrent", "0", "must be a whole number from 1 to 10000"),
        ("status_freshness", "5", "is not a duration; write numbers with units"),
        ("status_freshness", "-5m", "must not be negative"),
        ("store_requeue_interval", "0s", "must be more than nothing"),
        ("enable_flood_gate", "perhaps", "must be true or false"),
        ("metrics_addr", "8080", "is not a listen address"),
        ("loglevel", "loud", "must be one of debug, info, warn, error"),
        ("log_format", "xml", "must be one of json, console"),
    ],
)
def test_a_fault_names_flag_remedy_and_variable(name: str, text: str, clause: str) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(Misconfigured) as caught:
        settings.load({**BASE, name: text})
    message = str(caught.value)
    assert message.startswith(f"{flag} {clause}")
    assert f"given {text!r}" in message
    assert settings.PREFIX + name.upper() in message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        settings.load({**BASE, "concurrent": "x", "log_format": "xml"})
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == ["--concurrent", "--log-format"]


def test_an_unknown_name_is_a_fault() -> None:
    with pytest.raises(Misconfigured, match="concurrency is not a setting"):
        settings.load({**BASE, "concurrency": "1"})


def test_operator_namespace_by_flag_variable_or_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "namespace"
    with pytest.raises(Misconfigured, match=r"--operator-namespace .* POD_NAMESPACE"):
        settings.load({}, namespace_file=file)
    file.write_text("from-file\n", encoding="utf-8")
    assert settings.load({}, namespace_file=file).operator_namespace == "from-file"
    monkeypatch.setenv("POD_NAMESPACE", "from-pod")
    assert settings.load({}, namespace_file=file).operator_namespace == "from-pod"
    assert settings.load(BASE, namespace_file=file).operator_namespace == "leasehold"


def test_kubeconfig_by_flag_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    assert settings.load(BASE).kubeconfig == "/a:/b"
    assert settings.load({**BASE, "kubeconfig": "/c"}).kubeconfig == "/c"


def test_every_setting_is_described() -> None:
    described = settings.describe()
    assert [setting.name for setting in described] == list(Settings.model_fields)
    for setting in described:
        assert setting.flag == "--" + setting.name.replace("_", "-")
        assert setting.env == "LEASEHOLD_" + setting.name.upper()
        assert re.fullmatch(r"[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)*", setting.chart)
        assert setting.description.endswith(".")
        assert setting.group in set(settings.Group)
    for attribute in ("flag", "env", "chart"):
        assert len({getattr(setting, attribute) for setting in described}) == len(described)


def test_kinds_are_words_that_readers_know() -> None:
    kinds = {setting.kind for setting in settings.describe()}
    assert kinds == {"text", "bool", "count", "duration", "address", "debug|info|warn|error", "json|console"}


def test_described_defaults_are_the_defaults() -> None:
    given = {setting.name: setting.default for setting in settings.describe() if setting.default}
    assert settings.load({**given, **BASE}) == settings.load(BASE)


@pytest.mark.parametrize("suffix", ["_PORT", "_SERVICE_HOST", "_SERVICE_PORT"])
def test_no_variable_is_one_that_kubernetes_sets_for_a_service(suffix: str) -> None:
    # A Service named leasehold or leasehold-x puts LEASEHOLD_..._PORT and the like into every pod beside it.
    assert not [setting.env for setting in settings.describe() if setting.env.endswith(suffix)]
