"""Where control groups are, on old and new machines."""

from pathlib import Path

import pytest

from testbed import capsule

OLD = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
NEW = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "places"),
    [
        (OLD, ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"]),
        (NEW, ["/sys/fs/cgroup"]),
        ("proc /proc proc rw 0 0\n", []),
    ],
    ids=["version 1", "version 2", "none"],
)
def test_finds_the_hierarchies(mounts: str, places: list[str], tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(mounts)

    assert [str(place) for place in capsule.hierarchies(table)] == places
