"""What the operator has written down of leases: Secrets in its own namespace, read as its administrator would."""

from __future__ import annotations

import base64
import json

from testbed.operator import Operator
from tests.live.operator.cluster import Body, Cluster, Spot, eventually


def find(cluster: Cluster, operator: Operator, owner: Spot) -> Body | None:
    """Return the record of an ExternalSecret, None where nothing is recorded of it."""
    listed = cluster.every(Spot("Secret", operator.namespace), labelSelector="leasehold.dev/record=lease")
    mark = f"{owner.namespace}/{owner.name}"
    found = [body for body in listed if body["metadata"]["annotations"]["leasehold.dev/external-secret"] == mark]
    return read(found[0]) if found else None


def read(secret: Body) -> Body:
    """Return the record that a Secret holds."""
    record: Body = json.loads(base64.b64decode(secret["data"]["record.json"]))
    return record


def sources(record: Body | None) -> list[Body]:
    """Return what is held for each source."""
    return list(record["sources"].values()) if record is not None else []


def intends(record: Body | None) -> bool:
    """Tell whether a mint is recorded as begun and not as ended."""
    return any(source["intent"] for source in sources(record))


def until_minting(cluster: Cluster, operator: Operator, owner: Spot) -> None:
    """Wait until a mint has begun."""
    eventually(lambda: intends(find(cluster, operator, owner)), "minting")
