"""The command line: flags become settings, faults become sentences, and printing verbs stay light."""

import json
import logging
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml
from typer.testing import CliRunner

from leasehold import __version__, cli, settings
from leasehold.api.crd import render_all
from leasehold.domain.errors import Misconfigured
from leasehold.providers.vault.policy import operator_policy, tenant_policy
from leasehold.settings import Settings

BASE = ["run", "--operator-namespace=leasehold"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """What the operator was started with; it ends at once with exit code 7."""
    seen: list[Settings] = []

    def run(chosen: Settings) -> int:
        seen.append(chosen)
        return 7

    app = types.ModuleType("leasehold.app")
    vars(app)["run"] = run
    monkeypatch.setitem(sys.modules, "leasehold.app", app)
    for setting in settings.describe():
        monkeypatch.delenv(setting.env, raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield seen
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_run_hands_settings_over_and_exits_as_the_operator_does(started: list[Settings]) -> None:
    done = CliRunner().invoke(cli.app, [*BASE, "--concurrent=5", "--status-freshness", "90s"])
    assert done.exit_code == 7
    (chosen,) = started
    assert (chosen.concurrent, chosen.status_freshness, chosen.operator_namespace) == (5, 90.0, "leasehold")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], True),
        (["--enable-flood-gate"], True),
        (["--enable-flood-gate=true"], True),
        (["--enable-flood-gate=false"], False),
        (["--enable-flood-gate=false", "--enable-flood-gate"], True),
    ],
)
def test_switches_are_written_as_in_go(started: list[Settings], words: list[str], wanted: bool) -> None:
    CliRunner().invoke(cli.app, [*BASE, *words], catch_exceptions=False)
    assert started[0].enable_flood_gate is wanted


def test_a_switch_does_not_take_the_next_word(started: list[Settings]) -> None:
    done = CliRunner().invoke(cli.app, [*BASE, "--enable-flood-gate", "false"])
    assert done.exit_code == cli.MISUSED
    assert "false" in done.output
    assert not started


def test_the_environment_counts_and_a_flag_wins(started: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASEHOLD_CONCURRENT", "9")
    monkeypatch.setenv("LEASEHOLD_BACKEND_CONCURRENCY", "9")
    CliRunner().invoke(cli.app, [*BASE, "--concurrent=5"], catch_exceptions=False)
    assert (started[0].concurrent, started[0].backend_concurrency) == (5, 9)


def test_flags_of_external_secrets_operator_are_taken_with_a_warning(started: list[Settings]) -> None:
    words = [ignored.flag if ignored.switch else f"{ignored.flag}=1" for ignored in cli.IGNORED]
    done = CliRunner().invoke(cli.app, [*BASE, *words], catch_exceptions=False)
    assert len(started) == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["flag"] for line in lines} == {ignored.flag for ignored in cli.IGNORED}
    assert {(line["event"], line["level"]) for line in lines} == {("flag_ignored", "warning")}
    assert all(line["reason"] for line in lines)


def test_no_ignored_flag_is_a_setting() -> None:
    assert not {ignored.flag for ignored in cli.IGNORED} & {setting.flag for setting in settings.describe()}


def test_an_unknown_flag_is_refused_with_a_guess(started: list[Settings]) -> None:
    done = CliRunner().invoke(cli.app, [*BASE, "--concurent=5"])
    assert done.exit_code == cli.MISUSED
    assert "--concurrent" in done.output
    assert not started


def test_flags_whose_silence_would_change_a_result_are_refused(started: list[Settings]) -> None:
    assert CliRunner().invoke(cli.app, [*BASE, "--template-left-delimiter=[["]).exit_code == cli.MISUSED
    assert not started


def test_a_bad_setting_is_a_domain_error(started: list[Settings]) -> None:
    done = CliRunner().invoke(cli.app, [*BASE, "--concurrent=many"])
    assert isinstance(done.exception, Misconfigured)
    assert not started


def test_a_crash_is_logged_without_foreign_text(started: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Settings) -> int:
        raise ExceptionGroup("tasks", [ValueError("canary-7f3a9c")])

    monkeypatch.setattr(sys.modules["leasehold.app"], "run", crash)
    done = CliRunner().invoke(cli.app, BASE)
    assert done.exit_code == cli.CRASHED
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["event"], line["level"]) == ("crashed", "error")
    assert [part["type"] for part in line["exception"]["exceptions"]] == ["builtins.ValueError"]
    assert "canary" not in done.output


def test_main_turns_a_domain_error_into_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["leasehold", *BASE, "--concurrent=many"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.MISUSED
    assert capsys.readouterr().err.startswith("leasehold: --concurrent must be a whole number")


def test_help_shows_every_setting_with_its_variable_and_no_ignored_flag() -> None:
    text = CliRunner().invoke(cli.app, ["run", "--help"], terminal_width=200).output
    for setting in settings.describe():
        assert f"{setting.flag} " in text
        assert setting.env in text
    assert "--client-qps" not in text
    for heading in settings.Group:
        assert f"\n{heading.value}:\n" in text


def test_every_verb_has_help_with_an_example() -> None:
    for name in ("run", "crds", "policy"):
        assert "Examples:" in CliRunner().invoke(cli.app, [name, "--help"]).output


def test_crds_prints_one_stream() -> None:
    done = CliRunner().invoke(cli.app, ["crds"])
    kinds = [document["spec"]["names"]["kind"] for document in yaml.safe_load_all(done.stdout)]
    assert len(kinds) == len(render_all())
    assert {"ExternalSecret", "SecretStore", "ClusterSecretStore", "VaultDynamicSecret"} <= set(kinds)


def test_crds_writes_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crds"
    done = CliRunner().invoke(cli.app, ["crds", "--output", str(folder)])
    assert done.exit_code == 0
    assert {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()} == render_all()


def _comments(text: str) -> list[str]:
    return [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]


def test_policy_is_the_operators_and_says_how_to_bind_it() -> None:
    text = CliRunner().invoke(cli.app, ["policy", "--role", "keeper", "--mount", "k8s", "--audience", "v"]).stdout
    assert text.endswith(operator_policy())
    assert _comments(text)[:4] == [
        "vault policy write keeper THIS_FILE",
        "vault write auth/k8s/role/keeper token_policies=keeper audience=v \\",
        "  bound_service_account_namespaces=NAMESPACE bound_service_account_names=NAME",
        "leasehold run --vault-operator-role=keeper --vault-operator-mount=k8s --vault-operator-audience=v",
    ]


def test_the_flags_that_policy_names_are_settings() -> None:
    (line,) = [line for line in _comments(CliRunner().invoke(cli.app, ["policy"]).stdout) if "leasehold run" in line]
    given = dict(word.split("=") for word in line.split()[2:])
    assert set(given) <= {setting.flag for setting in settings.describe()}


def test_policy_of_a_tenant_that_mints_has_an_owner_to_keep() -> None:
    words = ["policy", "--role=app", "--mint=database/creds/a", "--mint=database/creds/b", "--read=secret/data/app"]
    text = CliRunner().invoke(cli.app, words).stdout
    assert text.endswith(tenant_policy(["database/creds/a", "database/creds/b"], ["secret/data/app"]))
    assert "token_type=service token_period=24h token_no_default_policy=true" in text
    assert "leasehold run" not in text


def test_policy_of_a_tenant_that_reads_needs_no_owner() -> None:
    text = CliRunner().invoke(cli.app, ["policy", "--read=secret/data/app"]).stdout
    assert text.endswith(tenant_policy((), ["secret/data/app"]))
    assert "token_period" not in text


def test_version() -> None:
    assert CliRunner().invoke(cli.app, ["version"]).output == f"leasehold {__version__}\n"


def test_no_arguments_show_help() -> None:
    assert "Usage:" in CliRunner().invoke(cli.app, []).output


@pytest.mark.parametrize("heavy", ["kopf", "hvac", "aiohttp", "cryptography", "prometheus_client", "structlog"])
def test_printing_the_version_loads_nothing_heavy(heavy: str) -> None:
    program = (
        "import sys; sys.argv = ['leasehold', 'version']\n"
        "from leasehold.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"leasehold {__version__}\n"), done.stderr
