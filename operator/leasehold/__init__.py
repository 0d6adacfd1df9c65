"""Leasehold: a Kubernetes operator that keeps native Secrets true, leases and rollouts included.

The house is described in ``docs/explanation/architecture.md``; each room's ``__init__`` says what belongs in it.
"""

__version__ = "0.1.0"
