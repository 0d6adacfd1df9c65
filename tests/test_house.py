"""Rules of the house that no linter knows: who may see a secret, what each module owes, how big a room may get."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from leasehold.api.meta import StoreKind
from leasehold.domain import reasons
from leasehold.domain.errors import Pace
from leasehold.domain.ports import LeaseOutcome
from tools import docstrings

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ROOT / "operator" / "leasehold"

REVEALERS = {
    "domain/values.py": "fingerprints are keyed hashes of values",
    "domain/desired.py": "the data-hash annotation of External Secrets Operator is a hash of the data",
    "domain/report.py": "status shows a keyed fingerprint of the lease id",
    "domain/keys.py": "decodes values on their way into the Secret",
    "domain/sources.py": "looks for null bytes where that is asked for",
    "template/plain.py": "values to bytes: that is the room's purpose",
    "app.py": "hands the API server's token to kopf's session",
    "cluster/access.py": "reads the account's name out of its own token",
    "cluster/api.py": "sends the token",
    "cluster/credentials.py": "a CA bundle is public",
    "cluster/records.py": "a lease record is a Secret",
    "cluster/secrets.py": "writes the Secret",
    "providers/fake.py": "takes members out of a value that is itself JSON",
    "providers/vault/keeper.py": "finds a held token by its accessor",
    "providers/vault/adapter.py": "sends the token, and values in the body of a login or a mint",
    "providers/vault/auth.py": "strips white space around a token, role id or secret id",
    "providers/vault/documents.py": "takes members out of a value that is itself JSON",
    "providers/vault/transport.py": "hands a client key to TLS, which takes files only",
    "providers/vault/wiring.py": "a client certificate is public",
}
"""The modules that may look into a secret value, and why. To add one is a decision, not a detail."""

UNTESTED = {
    "domain/ports.py": "protocols and the shapes that pass through them: nothing to run",
    "domain/facts.py": "shapes only",
    "domain/reasons.py": "words only; the reference pages show them",
}
"""Modules without a test file of their own, and why."""

SURROUNDINGS = {
    "settings.py": "the one reader of settings",
    "cluster/access.py": "where the kubelet says the API server is, and the home folder, are no settings",
}
"""Modules that read the environment, and why."""

LOOSE_TASKS = {
    "app.py": "the whole work, raced against the wish to stop, then cancelled and awaited",
    "schedule/agenda.py": "two waits race; both are cancelled and awaited on the spot",
    "flows/minting.py": "a mint outlives the cancellation of its caller, who then still waits for it",
}
"""Modules that start a task outside of a group, and why it is not lost."""

OVERSIZE = {
    "domain/ports.py": "a list of protocols is read as one page; there is nothing to split by",
}
"""Modules, or functions as module:function, beyond the limits, and why they are better whole."""

MODULE_LINES, FUNCTION_LINES, ARGUMENTS = 300, 40, 6
WORDS = (reasons.ReadyReason, reasons.StoreReason, reasons.EventReason, reasons.Why)

MODULES = sorted(path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py"))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((HOUSE / module).read_text(encoding="utf-8"))


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for names and attributes, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _public(body: list[ast.stmt], outer: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield outer + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{outer}{node.name}.")


def test_the_house_is_seen() -> None:
    assert "domain/values.py" in MODULES
    assert len(MODULES) > 20


def test_secrets_are_revealed_where_that_is_allowed_and_nowhere_else() -> None:
    # By attribute, not by call: handing the bound method on would open the door as well.
    revealing = {
        module
        for module in MODULES
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert not sorted(revealing - set(REVEALERS)), "new modules look into secret values"
    assert not sorted(set(REVEALERS) - revealing), "no longer needed: take them off the list"


@pytest.mark.parametrize("room", ["telemetry/", "handlers/", "schedule/", "settings.py", "cli.py", "flows/"])
def test_rooms_that_must_never_see_a_value(room: str) -> None:
    assert not [module for module in REVEALERS if module.startswith(room)]


def _owes_a_test(module: str) -> bool:
    """A package's front (docstring and imports only) owes nothing."""
    is_front = module.endswith("__init__.py") and all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (
            isinstance(node, ast.Assign)
            and all(_dotted(target) in {"__all__", "__version__"} for target in node.targets)
        )
        for node in _tree(module).body
    )
    return not is_front


def _test_of(module: str) -> str:
    path = Path(module)
    named = path.parent if path.name == "__init__.py" else path.with_name(path.stem.strip("_"))
    return (named.parent / f"test_{named.name}.py").as_posix()


def test_each_module_has_a_test_of_its_own() -> None:
    missing = [
        f"{module} wants tests/{_test_of(module)}"
        for module in MODULES
        if _owes_a_test(module) and module not in UNTESTED and not (ROOT / "tests" / _test_of(module)).is_file()
    ]
    assert not missing


def test_the_list_of_untested_modules_is_true() -> None:
    assert not [module for module in UNTESTED if module not in MODULES]
    assert not [module for module in UNTESTED if (ROOT / "tests" / _test_of(module)).is_file()]


def _forbidden(module: str) -> Iterator[str]:
    clock = module == "schedule/clock.py"
    for node in ast.walk(_tree(module)):
        name = _dotted(node) if isinstance(node, ast.Attribute) else ""
        if name in {"os.environ", "os.getenv", "os.environb"} and module not in SURROUNDINGS:
            yield f"{name}: only settings reads the environment"
        if re.fullmatch(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)", name) and not clock:
            yield f"{name}: time is an argument"
        if name in {"time.monotonic", "time.time_ns", "time.perf_counter", "time.sleep"} and not clock:
            yield f"{name}: shells take a Clock"
        if name == "asyncio.sleep" and not clock:
            yield f"{name}: shells take a Clock"
        if name == "asyncio.ensure_future" and module not in LOOSE_TASKS:
            yield f"{name}: use a TaskGroup, so that no task is lost"
        if name in {"os._exit", "os.system", "pickle.loads", "yaml.load"}:
            yield f"{name}: never"
        if name == "logging.getLogger" and not module.startswith(("telemetry/", "handlers/")):
            yield "logging.getLogger: log by structlog"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_called_that_is_banned(module: str) -> None:
    assert not list(_forbidden(module))


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(("api/", "domain/", "template/"))])
def test_pure_rooms_do_not_wait(module: str) -> None:
    waiting = [node for node in ast.walk(_tree(module)) if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)]
    assert not waiting


@pytest.mark.parametrize("module", MODULES)
def test_log_events_have_fixed_names(module: str) -> None:
    for node in ast.walk(_tree(module)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        bound = node.func.value
        owner = _dotted(bound.func if isinstance(bound, ast.Call) else bound).rsplit(".", 1)[-1].strip("_")
        if owner not in {"log", "logger", "get_logger", "bind"} or node.func.attr not in {
            "debug",
            "info",
            "warning",
            "error",
            "exception",
        }:
            continue
        event = node.args[0] if node.args else None
        assert isinstance(event, ast.Constant), f"line {node.lineno}: the event is a literal, the rest are fields"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(event.value)), (
            f"line {node.lineno}: {event.value} is no snake_case"
        )


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_every_reason_says_what_it_means(kind: type[reasons.StrEnum]) -> None:
    for member, text in docstrings.members(kind):
        assert text.endswith("."), f"{member.name} has no docstring"


def test_docstrings_of_members_are_found_where_they_are() -> None:
    assert dict(docstrings.members(Pace))[Pace.NOW].startswith("At once")
    for kind in (StoreKind, LeaseOutcome):
        assert [member for member, _ in docstrings.members(kind)] == list(kind)


@pytest.mark.parametrize("module", MODULES)
def test_the_public_is_documented(module: str) -> None:
    tree = _tree(module)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for name, node in _public(tree.body):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        overridden = any(_dotted(one) in {"override", "typing.override", "overload"} for one in node.decorator_list)
        if not overridden and not ast.get_docstring(node):
            missing.append(name)
    assert not missing


def _oversize(module: str) -> Iterator[str]:
    lines = len((HOUSE / module).read_text(encoding="utf-8").splitlines())
    if lines > MODULE_LINES:
        yield module
    for function in _functions(module):
        assert function.end_lineno is not None
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        taken = [argument for argument in arguments if argument.arg not in {"self", "cls"}]
        if function.end_lineno - function.lineno + 1 > FUNCTION_LINES or len(taken) > ARGUMENTS:
            yield f"{module}:{function.name}"


def test_rooms_stay_small_or_say_why_not() -> None:
    found = {name for module in MODULES for name in _oversize(module)}
    limits = f"more than {MODULE_LINES} lines, {FUNCTION_LINES} in a function, or {ARGUMENTS} arguments"
    assert not sorted(found - set(OVERSIZE)), limits
    assert not sorted(set(OVERSIZE) - found), "small again: take them off the list"


@pytest.mark.parametrize("module", MODULES)
def test_rooms_have_names(module: str) -> None:
    assert not {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"} & set(
        Path(module).with_suffix("").parts
    )
