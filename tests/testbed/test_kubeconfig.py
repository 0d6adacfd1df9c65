"""A kubeconfig is what clients read: YAML with one of each thing."""

import base64

import yaml

from testbed import kubeconfig


def test_a_kubeconfig_names_server_authority_token_and_namespace() -> None:
    text = kubeconfig.compose(url="https://127.0.0.1:1", ca_pem="PEM\n", token="secret", namespace="team")

    document = yaml.safe_load(text)

    (cluster,), (user,), (context,) = document["clusters"], document["users"], document["contexts"]
    assert document["current-context"] == context["name"]
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"], "namespace": "team"}
    assert cluster["cluster"]["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"PEM\n"
    assert user["user"] == {"token": "secret"}
