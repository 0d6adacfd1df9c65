"""Where the cache is, who may build, and whether there is room."""

from pathlib import Path

import pytest

from testbed import cache
from testbed.errors import BedError


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"LEASEHOLD_CACHE": "/big/disk", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/big/disk"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/leasehold"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/leasehold"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/leasehold"),
        ({"LEASEHOLD_CACHE": "", "HOME": "/h"}, "/h/.cache/leasehold"),
    ],
)
def test_locates_the_cache(environ: dict[str, str], place: str) -> None:
    assert cache.locate_root(environ) == Path(place)


def test_a_second_builder_is_told_who_builds(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def give_up(pid: str) -> None:
        raise Stop(pid)

    with (
        cache.lock(tmp_path, on_busy=give_up),
        pytest.raises(Stop, match=r"\d+"),
        cache.lock(tmp_path, on_busy=give_up),
    ):
        pytest.fail("two builders at once")

    with cache.lock(tmp_path, on_busy=give_up):
        pass  # the lock went with its holder


def test_room_is_counted_per_disk(tmp_path: Path) -> None:
    cache.require_space({tmp_path / "a": 0.0, tmp_path / "not" / "yet": 0.0})

    with pytest.raises(BedError, match=r"(?s)GiB free.*LEASEHOLD_CACHE"):
        cache.require_space({tmp_path / "a": 1.0, tmp_path / "not" / "yet": 10.0**9})
