"""Kubeconfig files: one cluster, one user, one context. JSON, which is YAML too."""

import base64
import json


def compose(*, url: str, ca_pem: str, token: str, namespace: str = "default") -> str:
    """Return the text of a kubeconfig that reaches `url`, trusts `ca_pem` and presents a bearer token."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca_pem.encode()).decode()}
    context = {"cluster": "testbed", "user": "testbed", "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": "testbed", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": context}],
        "current-context": "testbed",
    }
    return json.dumps(document, indent=1)
