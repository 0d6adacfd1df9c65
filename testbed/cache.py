"""Where built things live, outside the tree, and the lock that keeps two builds apart. Knows no recipe."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from testbed.errors import BedError


def locate_root(environ: Mapping[str, str]) -> Path:
    """Return the cache folder: LEASEHOLD_CACHE, or `leasehold` in the user's cache folder (XDG_CACHE_HOME).

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    own = environ.get("LEASEHOLD_CACHE", "")
    if own:
        return Path(own).expanduser().absolute()
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "leasehold"
    return Path(environ.get("HOME") or "~").expanduser() / ".cache" / "leasehold"


def root() -> Path:
    """Return the cache folder of this process's environment; it need not exist yet."""
    return locate_root(os.environ)


@contextlib.contextmanager
def lock(folder: Path, *, on_busy: Callable[[str], None]) -> Iterator[None]:
    """Hold the build lock of `folder`; when another process has it, call `on_busy` with its pid and wait for it.

    The lock is the kernel's (flock), so it cannot outlive its holder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "build.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            on_busy(handle.read().strip() or "?")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def require_space(needs: Mapping[Path, float]) -> None:
    """Raise BedError when a file system has less free space (GiB) than the folders on it need together."""
    devices: dict[int, list[Path]] = {}
    for folder in needs:
        devices.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in devices.values():
        need = sum(needs[folder] for folder in folders)
        free = shutil.disk_usage(_existing(folders[0])).free / 2**30
        if free < need:
            names = ", ".join(map(str, folders))
            raise BedError(
                f"the disk of {names} has {free:.1f} GiB free; a first build needs about {need:.1f} GiB there",
                remedy="free some space, or point LEASEHOLD_CACHE, GOCACHE and GOMODCACHE to a larger disk",
            )


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())
