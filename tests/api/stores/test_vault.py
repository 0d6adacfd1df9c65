import pytest

from leasehold.api.stores.vault import AUTH_METHODS, VaultAuth, VaultProvider

REF = {"name": "s", "key": "k"}
METHODS = {
    "tokenSecretRef": REF,
    "appRole": {"roleId": "r", "secretRef": REF},
    "kubernetes": {"role": "r"},
    "ldap": {"username": "u"},
    "userPass": {"username": "u"},
    "jwt": {"secretRef": REF},
    "cert": {},
    "iam": {"vaultRole": "r"},
    "gcp": {"role": "r"},
}


@pytest.mark.parametrize("place", range(len(AUTH_METHODS)))
def test_the_first_method_in_order_wins(place):
    present = dict(list(METHODS.items())[place:])
    reversed_order = dict(reversed(present.items()))
    assert VaultAuth.model_validate(reversed_order).method() == AUTH_METHODS[place]


def test_no_method():
    assert VaultAuth.model_validate({"namespace": "n"}).method() is None


def test_mount_paths_have_the_defaults_of_eso():
    auth = VaultAuth.model_validate(METHODS)
    found = {name: getattr(auth, name).path for name in ("app_role", "ldap", "user_pass", "jwt", "cert", "iam", "gcp")}
    assert found == {
        "app_role": "approle",
        "ldap": "ldap",
        "user_pass": "userpass",
        "jwt": "jwt",
        "cert": "cert",
        "iam": None,
        "gcp": "gcp",
    }
    assert auth.kubernetes is not None
    assert auth.kubernetes.mount_path == "kubernetes"


def test_an_unknown_kv_version_is_refused():
    with pytest.raises(ValueError, match="version"):
        VaultProvider.model_validate({"server": "https://v", "version": "v3"})


def test_headers_stay_out_of_reprs():
    canary = "correct horse battery staple"
    assert canary not in repr(VaultProvider.model_validate({"server": "https://v", "headers": {"X-Key": canary}}))
