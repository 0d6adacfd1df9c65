"""Go's complaints become errors that name the module, the cause and the remedy."""

import re

import pytest

from testbed import compiler, recipes

PROXY = "https://proxy.golang.org/go.uber.org/zap/@v/v1.27.1.zip"


@pytest.mark.parametrize(
    ("line", "problem", "remedy"),
    [
        (
            f'go: go.uber.org/zap@v1.27.1: Get "{PROXY}": dial tcp: lookup proxy.golang.org: no such host',
            r"could not download go\.uber\.org/zap@v1\.27\.1 \(for etcd\).*no such host",
            "GOPROXY",
        ),
        (
            f'go: go.uber.org/zap@v1.27.1: Get "{PROXY}": net/http: TLS handshake timeout',
            r"could not download go\.uber\.org/zap@v1\.27\.1",
            "GOPROXY",
        ),
        (
            "# go.uber.org/zap\nwrite $WORK/b1/_pkg_.a: no space left on device",
            "no disk space left while building etcd",
            "LEASEHOLD_CACHE",
        ),
        (
            "verifying go.uber.org/zap@v1.27.1: checksum mismatch",
            r"go\.mod and go\.sum do not agree with go\.uber\.org/zap@v1\.27\.1",
            "version control",
        ),
        (
            "main.go:3:2: missing go.sum entry for module providing package x.org/y (imported by z)",
            "go.mod and go.sum do not agree",
            "version control",
        ),
    ],
    ids=["no name service", "slow network", "full disk", "changed module", "forgotten sum"],
)
def test_explains_a_known_complaint(line: str, problem: str, remedy: str) -> None:
    error = compiler.explain(recipes.ETCD, "build", ["go: downloading something", *line.splitlines()])

    assert re.search(problem, error.problem)
    assert remedy in error.remedy


def test_an_unknown_complaint_is_quoted() -> None:
    error = compiler.explain(recipes.ETCD, "build", [*(f"line {n}" for n in range(50)), "x.go:1: undefined: y"])

    assert error.problem.startswith("go build failed for etcd")
    assert error.problem.endswith("x.go:1: undefined: y")
    assert "line 1\n" not in error.problem
