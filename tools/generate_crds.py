"""Write the CRDs into crds/, removing what no kind makes any more. Called by `make generate`."""

from pathlib import Path

from leasehold.api.crd import render_all

FOLDER = Path(__file__).resolve().parent.parent / "crds"


def main() -> None:
    """Make the folder hold exactly the rendered CRDs."""
    wanted = render_all()
    for stale in FOLDER.glob("*.yaml"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
