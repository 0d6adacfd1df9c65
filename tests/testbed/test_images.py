"""An image archive says of itself what is in it."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from testbed import images
from testbed.errors import BedError
from testbed.images import Image


def test_an_archive_names_its_layers_by_their_digests(tmp_path: Path) -> None:
    layers = b"lower", b"upper"

    place = images.write_archive(tmp_path / "a.tar", Image("localhost/a:1", ["/a"], user="65532"), *layers)

    with tarfile.open(place) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/a:1"]
    assert [files[name] for name in manifest["Layers"]] == list(layers)
    configuration = json.loads(files[manifest["Config"]])
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert configuration["config"]["Entrypoint"] == ["/a"]
    assert configuration["config"]["User"] == "65532"
    assert manifest["Config"] == f"{hashlib.sha256(files[manifest['Config']]).hexdigest()}.json"


def pretend_busybox(folder: Path, content: bytes) -> None:
    (folder / "busybox").write_bytes(content)
    (folder / "busybox").chmod(0o755)


def test_busybox_comes_with_its_applets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_busybox(tmp_path, b"\x7fELF static")
    monkeypatch.setenv("PATH", str(tmp_path))

    place = images.write_busybox(tmp_path / "b.tar")

    with tarfile.open(place) as archive:
        (layer,) = [entry for entry in archive if entry.name.endswith(".tar")]
        data = archive.extractfile(layer).read()  # type: ignore[union-attr]
    with tarfile.open(fileobj=io.BytesIO(data)) as inner:
        assert inner.getmember("bin/sh").linkname == "busybox"
        assert inner.getmember("tmp").mode == 0o1777


def test_a_dynamic_busybox_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_busybox(tmp_path, b"\x7fELF /lib64/ld-linux-x86-64.so.2")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BedError, match="no static busybox"):
        images.locate_busybox()
