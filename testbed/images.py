"""Container images without a registry and without a builder: archives that `ctr images import` reads.

The layout is that of `docker save` (image specification v1.2): a manifest, a configuration, a tar per layer.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import BedError

BUSYBOX = "localhost/testbed/busybox:1"
# Of busybox's hundreds: what a test's pod may want to do.
_APPLETS = (
    "cat", "date", "env", "false", "grep", "id", "kill", "ls", "md5sum", "nc", "nslookup", "sh", "sleep",
    "tail", "test", "touch", "true", "wget",
)  # fmt: skip
_PASSWD = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is besides its layers: name, command, environment, user (`uid` or `uid:gid`)."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    user: str = ""


def write_archive(place: Path, image: Image, *layers: bytes) -> Path:
    """Write an image of layers (tar archives, the lowest first) to a file and return it."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    settings = {
        "Entrypoint": list(image.command),
        "Env": [f"{name}={value}" for name, value in image.environ.items()],
        "User": image.user,
        "WorkingDir": "/",
    }
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    text = json.dumps(configuration).encode()
    config_name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": [f"{d}.tar" for d in digests]}]
    with tarfile.open(place, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest).encode())
        _add(archive, config_name, text)
        for digest, layer in zip(digests, layers, strict=True):
            _add(archive, f"{digest}.tar", layer)
    return place


def write_busybox(place: Path) -> Path:
    """Write the image BUSYBOX: the machine's static busybox. It serves as pods' sandbox too, since it can sleep."""
    program = locate_busybox()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            _add_entry(layer, name, tarfile.DIRTYPE, mode=mode)
        _add(layer, "bin/busybox", program.read_bytes(), mode=0o755)
        for applet in _APPLETS:
            _add_entry(layer, f"bin/{applet}", tarfile.SYMTYPE, target="busybox")
        _add(layer, "etc/passwd", _PASSWD.encode())
    # A sandbox sleeps for ever and is ended by SIGKILL; pods name a command of their own.
    return write_archive(place, Image(BUSYBOX, ["/bin/sleep", "2147483647"]), buffer.getvalue())


def locate_busybox() -> Path:
    """Return the machine's static busybox. Raises BedError when there is none."""
    found = shutil.which("busybox")
    if found is None or b"ld-linux" in Path(found).read_bytes()[:4096]:
        raise BedError("no static busybox on PATH", remedy="apt-get install busybox-static")
    return Path(found)


def _add(archive: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _add_entry(archive: tarfile.TarFile, name: str, kind: bytes, *, mode: int = 0o777, target: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, target
    archive.addfile(entry)
