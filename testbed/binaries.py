"""Finds what `build` has made. Read-only: it never builds, so a test cannot start a ten-minute build by accident."""

import platform
from pathlib import Path

from testbed import cache, recipes
from testbed.errors import BedError

REMEDY = "run `make testbed` (or `python -m testbed build`); it builds only what is missing"


def platform_name() -> str:
    """Return the part of a key that tells machines apart, for example `linux-x86_64`."""
    return f"{platform.system()}-{platform.machine()}".lower()


def root() -> Path:
    """Return the folder that holds the folders of all families."""
    return cache.root() / "bin"


def folder(recipe: recipes.Recipe) -> Path:
    """Return the cache folder of a family as it is described now; it need not exist."""
    return root() / recipe.key(platform=platform_name())


def missing(recipe: recipes.Recipe, *, names: frozenset[str] = frozenset()) -> tuple[recipes.Binary, ...]:
    """Return the family's programs that are not built: those built by default, and those asked for by name."""
    place = folder(recipe)
    wanted = (b for b in recipe.binaries if not b.on_demand or b.name in names)
    return tuple(b for b in wanted if not (place / b.place).exists())


def find(name: str) -> Path:
    """Return the path of one built program, for example `kube-apiserver`.

    Raises BedError when no recipe makes it, or when it is not built yet.
    """
    for recipe in recipes.ALL:
        for binary in recipe.binaries:
            if binary.name == name:
                path = folder(recipe) / binary.place
                if path.exists():
                    return path
                raise BedError(f"{name} is not built (looked at {path})", remedy=REMEDY)
    raise BedError(f"no recipe makes a program called {name}", remedy="see testbed/recipes.py")


def find_kept(recipe: recipes.Recipe, part: str) -> Path:
    """Return a folder that was kept from the family's module, for example kwok's `kustomize/stage`."""
    path = folder(recipe) / "kept" / part
    if path.is_dir():
        return path
    raise BedError(f"{part} of {recipe.module} is not in the cache (looked at {path})", remedy=REMEDY)
