"""`python -m leasehold`: the command line, for where no script is installed."""

from leasehold.cli import main

if __name__ == "__main__":
    main()
