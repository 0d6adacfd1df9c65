"""The command line: `leasehold run` and the small verbs that print what Leasehold carries.

The options of `run` are made from the settings, so that none can be forgotten; the flags of External Secrets Operator
that mean nothing here are taken with a warning, so that arguments written for it go on starting. Heavy rooms are
imported by the verb that needs them. Nothing is decided here.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand

from leasehold import __version__, settings
from leasehold.domain.errors import DomainError

CRASHED = 1
"""Exit code for an error of ours; the log has its type and our frames."""
GC_THRESHOLDS = (10_000, 20, 20)
"""Hardly anything of ours is cyclic garbage: collections are rarer than Python's default of 700 allocations."""
MISUSED = 2
"""Exit code for flags, variables or surroundings that cannot work."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A flag of External Secrets Operator that is taken and has no effect."""

    flag: str
    why: str
    switch: bool = True
    """True where the flag alone means true."""

    @property
    def name(self) -> str:
        """The flag as a Python name."""
        return self.flag.removeprefix("--").replace("-", "_")


_NO_KIND = "Leasehold does not have this kind yet"
_NO_CACHE = "Secrets and ConfigMaps are not cached; a metadata-only watch says which exist"
_ONE_LOGIN = "one login per store and identity is always shared and renewed"
_PLAIN_METRICS = "metrics are served over plain HTTP; put a proxy before them where that is not enough"
_NO_STATE = "there are no GeneratorState objects; leases are recorded in Secrets of the operator's namespace"
_NO_QPS = "requests to the API server are bounded by --kube-concurrency, not by a rate"
_NO_ELECTION = "no election is controlled by this flag"

IGNORED: tuple[Ignored, ...] = (
    Ignored("--client-qps", _NO_QPS, switch=False),
    Ignored("--client-burst", _NO_QPS, switch=False),
    Ignored("--enable-cluster-external-secret-reconciler", _NO_KIND),
    Ignored("--enable-cluster-push-secret-reconciler", _NO_KIND),
    Ignored("--enable-configmaps-caching", _NO_CACHE),
    Ignored("--enable-extended-metric-labels", "metrics carry the labels of the reference page, and no others"),
    Ignored("--enable-generator-state", _NO_STATE),
    Ignored("--enable-http2", _PLAIN_METRICS),
    Ignored("--enable-leader-election", _NO_ELECTION),
    Ignored("--enable-managed-secrets-caching", _NO_CACHE),
    Ignored("--enable-push-secret-reconciler", _NO_KIND),
    Ignored("--enable-secret-api-read-on-cache-mismatch", _NO_CACHE),
    Ignored("--enable-secrets-caching", _NO_CACHE),
    Ignored("--enable-vault-token-cache", _ONE_LOGIN),
    Ignored("--experimental-enable-aws-session-cache", "there is no AWS provider yet"),
    Ignored("--experimental-enable-vault-token-cache", _ONE_LOGIN),
    Ignored("--experimental-vault-token-cache-size", _ONE_LOGIN, switch=False),
    Ignored("--generator-gc-grace-period", _NO_STATE, switch=False),
    Ignored("--leader-election-id", _NO_ELECTION, switch=False),
    Ignored("--metrics-auth", _PLAIN_METRICS),
    Ignored("--metrics-cert-dir", _PLAIN_METRICS, switch=False),
    Ignored("--metrics-cert-name", _PLAIN_METRICS, switch=False),
    Ignored("--metrics-key-name", _PLAIN_METRICS, switch=False),
    Ignored("--metrics-secure", _PLAIN_METRICS),
    Ignored("--unsafe-allow-generic-targets", "targets other than Secrets are not supported yet"),
    Ignored("--vault-token-cache-size", _ONE_LOGIN, switch=False),
    Ignored("--zap-time-encoding", "times in logs are always RFC 3339 in UTC", switch=False),
)
"""Not among them: flags whose silence would change a result, such as --template-left-delimiter. Those are refused."""

_SWITCHES = frozenset(
    [setting.flag for setting in settings.describe() if setting.switch]
    + [ignored.flag for ignored in IGNORED if ignored.switch]
)
_GROUPS = {setting.flag: setting.group for setting in settings.describe()}

app = typer.Typer(
    name="leasehold",
    help="Keeps Kubernetes Secrets true to what a secrets backend holds: leases renewed, rotated and rolled out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


class RunCommand(TyperCommand):
    """The `run` verb: Go's way of writing switches, and help under the settings' headings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read ``--switch`` as ``--switch=true``: unlike other options it never takes the next word."""
        return super().parse_args(ctx, [f"{word}=true" if word in _SWITCHES else word for word in args])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, one section per group of settings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                sections.setdefault(_GROUPS.get(option.opts[0], "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _load_operator() -> Callable[[settings.Settings], int]:
    """Import everything that `run` needs, once and cheaply, and return what runs it.

    What was imported stays for ever: the collector would look at each of its 80,000 objects again and again, while
    they are made and later. Hidden from structlog, rich is not imported for tracebacks that we never print.
    """
    gc.disable()
    hidden = sys.modules.setdefault("rich", cast("Any", None)) is None
    try:
        from leasehold.app import run
    finally:
        if hidden:
            del sys.modules["rich"]
        gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return run


def _run(**given: str | None) -> None:
    flags = {name: text for name, text in given.items() if text is not None}
    taken = [ignored for ignored in IGNORED if flags.pop(ignored.name, None) is not None]
    chosen = settings.load(flags)
    run = _load_operator()
    import structlog

    from leasehold.telemetry import log

    log.configure(level=chosen.loglevel, form=chosen.log_format)
    for ignored in taken:
        structlog.get_logger().warning("flag_ignored", flag=ignored.flag, reason=ignored.why)
    try:
        code = run(chosen)
    except DomainError:
        raise
    except Exception:  # noqa: BLE001  # Python's own report would print the text of a foreign exception
        structlog.get_logger().exception("crashed")
        code = CRASHED
    raise typer.Exit(code)


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give the function one text option per setting and per ignored flag: typer reads signatures."""
    parameters = [
        _option(setting.name, setting.flag, _help(setting), _metavar(setting)) for setting in settings.describe()
    ]
    parameters += [_option(ignored.name, ignored.flag, None, "TEXT") for ignored in IGNORED]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def _option(name: str, flag: str, text: str | None, metavar: str) -> inspect.Parameter:
    option = typer.Option(flag, help=text, metavar=metavar, show_default=False, hidden=text is None)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _help(setting: settings.Setting) -> str:
    default = f"; default: {setting.default}" if setting.default else ""
    return f"{setting.description}  [{setting.env}{default}]"


def _metavar(setting: settings.Setting) -> str:
    words = {"bool": "BOOL", "count": "NUMBER", "duration": "DURATION", "address": "HOST:PORT", "text": "TEXT"}
    return words.get(setting.kind, setting.kind)


_RUN_HELP = """Run the operator until SIGTERM or SIGINT.

Each flag is also an environment variable, named in brackets; a flag wins. A switch stands alone
(--enable-flood-gate) or has a value (--enable-flood-gate=false). Durations are written as in Go: 20s, 5m, 1h30m.

\b
Examples:
  leasehold run
  leasehold run --namespace=payments --loglevel=debug --log-format=console
  leasehold run --vault-operator-role=leasehold --concurrent=64
  KUBECONFIG=~/.kube/config leasehold run --operator-namespace=leasehold
"""
app.command("run", cls=RunCommand, help=_RUN_HELP)(_with_options(_run))


@app.command()
def crds(
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one file per kind into this folder instead of printing.")
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions of all kinds.

    \b
    Examples:
      leasehold crds | kubectl apply --server-side -f -
      leasehold crds --output crds/
    """
    from leasehold.api.crd import render_all

    rendered = render_all()
    if output is None:
        typer.echo("---\n".join(rendered.values()), nl=False)
        return
    output.mkdir(parents=True, exist_ok=True)
    for name, text in rendered.items():
        (output / name).write_text(text, encoding="utf-8")
    typer.echo(f"wrote {len(rendered)} files into {output}")


@app.command()
def policy(
    role: Annotated[str, typer.Option(metavar="NAME", help="Name of the Vault role, and of its policy.")] = "leasehold",
    mount: Annotated[str, typer.Option(metavar="PATH", help="Mount of the Kubernetes auth method.")] = "kubernetes",
    audience: Annotated[str, typer.Option(metavar="NAME", help="Audience that the role demands of a token.")] = "vault",
    mint: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="API path that a tenant mints from; may be repeated.")
    ] = None,
    read: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="API path that a tenant reads; may be repeated.")
    ] = None,
) -> None:
    """Print a Vault policy (HCL): the operator's own, or with --mint or --read that of a tenant's role.

    The operator's policy keeps and ends leases and reads no secret; it belongs to the role that --vault-operator-role
    names. How to write policy and role stands on top, as a comment.

    \b
    Examples:
      leasehold policy | vault policy write leasehold -
      leasehold policy --role payments-database --mint database/creds/payments
      leasehold policy --role payments --read 'secret/data/payments/*'
    """
    from leasehold.providers.vault.policy import operator_policy, tenant_policy

    wanted = [f"token_policies={role}", f"audience={audience}"]
    if mint:
        # A lease dies with the token that minted it, so the token of a minting role must be one that can be kept alive.
        wanted += ["token_type=service", "token_period=24h", "token_no_default_policy=true"]
    notes = [
        f"vault policy write {role} THIS_FILE",
        f"vault write auth/{mount}/role/{role} {' '.join(wanted)} \\",
        "  bound_service_account_namespaces=NAMESPACE bound_service_account_names=NAME",
    ]
    if mint or read:
        text = tenant_policy(mint or (), read or ())
    else:
        text = operator_policy()
        flags = f"--vault-operator-role={role} --vault-operator-mount={mount} --vault-operator-audience={audience}"
        notes.append(f"leasehold run {flags}")
    typer.echo("".join(f"# {note}\n" for note in notes) + text, nl=False)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"leasehold {__version__}")


def main() -> None:
    """Run the command line; a fault that the user can mend ends it with a sentence, not with a traceback."""
    try:
        app()
    except DomainError as error:
        typer.echo(f"leasehold: {error}", err=True)
        sys.exit(MISUSED)
