"""What is built, from which module, with which flags; and the key under which the result is cached.

A family is a folder of `recipes/` with a go.mod and go.sum of its own, since the dependency versions of the families
do not fit together. This module only describes: it runs nothing.

Licence note: Vault 1.21 is under the Business Source Licence. It is built here as a test server and never shipped.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent / "recipes"
_VERSIONED = re.compile(r"v[0-9]+")
_KUBERNETES = "1.36.3"
_STAMP = "k8s.io/component-base/version.git"


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: `place` is its path below the family's folder, `package` the Go package it is built from."""

    place: str
    package: str
    on_demand: bool = False

    @property
    def name(self) -> str:
        """The last part of the place: what people call the program."""
        return self.place.rpartition("/")[2]

    @property
    def go_name(self) -> str:
        """The file name `go build -o DIR/` gives it: the last part of the package that is no major version."""
        parts = self.package.split("/")
        return parts[-2] if _VERSIONED.fullmatch(parts[-1]) else parts[-1]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One family: its programs, build flags, and the folders of its module that are kept beside the programs."""

    family: str
    module: str
    binaries: tuple[Binary, ...]
    tags: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder with the family's go.mod and go.sum."""
        return HERE / self.family

    @property
    def flags(self) -> tuple[str, ...]:
        """The arguments of `go build` beyond the packages."""
        linker = " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in self.stamps)])
        tagged = ("-tags", ",".join(self.tags)) if self.tags else ()
        return ("-trimpath", *tagged, "-ldflags", linker)

    def key(self, *, platform: str) -> str:
        """Return the family's name and a hash of all that decides what its programs are.

        That is: go.mod, go.sum, packages, places, flags, kept folders, and the platform (`linux-x86_64`). Not the
        Go release, so that a patch of the toolchain does not rebuild everything.
        """
        digest = hashlib.sha256()
        parts = [platform, *self.flags, *self.keeps, *(f"{b.place}={b.package}" for b in self.binaries)]
        parts += [(self.folder / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum")]
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())
        return f"{self.family}-{digest.hexdigest()[:12]}"


ETCD = Recipe(
    family="etcd",
    module="go.etcd.io/etcd/server/v3",
    binaries=(Binary("etcd", "go.etcd.io/etcd/server/v3"),),
)
KUBERNETES = Recipe(
    family="kubernetes",
    module="k8s.io/kubernetes",
    binaries=(
        Binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        Binary("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        Binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        Binary("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        Binary("kubelet", "k8s.io/kubernetes/cmd/kubelet", on_demand=True),
    ),
    # Without the stamp the server calls itself v0.0.0-master, and clients that compare versions refuse it.
    stamps=(f"{_STAMP}Version=v{_KUBERNETES}", f"{_STAMP}Major=1", f"{_STAMP}Minor=36"),
)
VAULT = Recipe(
    family="vault",
    module="github.com/hashicorp/vault",
    binaries=(
        Binary("vault", "github.com/hashicorp/vault"),
        Binary(
            "plugins/postgresql-database-plugin",
            "github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin",
        ),
        Binary(
            "plugins/kubernetes",
            "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes",
        ),
    ),
    tags=("minimal",),
)
KWOK = Recipe(
    family="kwok",
    module="sigs.k8s.io/kwok",
    binaries=(Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
    # kwok has no built-in stages; its module carries them, and they stay out of our tree.
    keeps=("kustomize/stage",),
)
HELM = Recipe(
    family="helm",
    module="helm.sh/helm/v3",
    binaries=(Binary("helm", "helm.sh/helm/v3/cmd/helm"),),
)
KUBECONFORM = Recipe(
    family="kubeconform",
    module="github.com/yannh/kubeconform",
    binaries=(Binary("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),),
)

# Small ones first, so that compiling begins while the large ones are still being fetched.
ALL = (ETCD, KUBERNETES, VAULT, KWOK, KUBECONFORM, HELM)
