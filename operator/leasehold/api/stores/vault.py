"""The vault provider: server, mount, TLS and every login method of ESO's union.

Shared by stores and by VaultDynamicSecret.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from leasehold.api.meta import (
    CAProvider,
    Flag,
    Model,
    Number,
    SecretKeySelector,
    ServiceAccountSelector,
    rules,
)

AUTH_METHODS = ("token", "appRole", "kubernetes", "ldap", "userPass", "jwt", "cert", "iam", "gcp")
"""Login methods in the order in which the first one that is set wins."""


class VaultAppRole(Model):
    """Login by AppRole."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("(has(self.roleId) && self.roleId != '') || has(self.roleRef)", "appRole needs roleId or roleRef"),
        )
    )

    path: str = Field(default="approle", description="Mount path of the method.")
    role_id: str | None = Field(default=None, description="The role id; wins over roleRef.")
    role_ref: SecretKeySelector | None = Field(default=None, description="Secret that holds the role id.")
    secret_ref: SecretKeySelector = Field(description="Secret that holds the secret id.")


class VaultKubernetes(Model):
    """Login by a ServiceAccount's token; without a reference, by the operator's own."""

    mount_path: str = Field(default="kubernetes", description="Mount path of the method.")
    role: str = Field(description="Role to log in with.")
    service_account_ref: ServiceAccountSelector | None = Field(
        default=None, description="Account for which a short-lived token is requested."
    )
    secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds a token; key token if absent."
    )


class VaultLdap(Model):
    """Login by LDAP."""

    path: str = Field(default="ldap", description="Mount path of the method.")
    username: str = Field(description="Name of the user.")
    secret_ref: SecretKeySelector | None = Field(default=None, description="Secret that holds the password.")


class VaultUserPass(Model):
    """Login by user and password."""

    path: str = Field(default="userpass", description="Mount path of the method.")
    username: str = Field(description="Name of the user.")
    secret_ref: SecretKeySelector | None = Field(default=None, description="Secret that holds the password.")


class VaultServiceAccountToken(Model):
    """A token requested for a ServiceAccount."""

    service_account_ref: ServiceAccountSelector = Field(description="Account for which the token is requested.")
    audiences: tuple[str, ...] | None = Field(
        default=None, description="Audiences of the token: vault if absent. Deprecated: set them on the account."
    )
    expiration_seconds: Number | None = Field(
        default=None,
        description="Life of the token: 600 if absent. Deprecated.",
        json_schema_extra={"format": "int64"},
    )


class VaultJwt(Model):
    """Login by a JWT."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.secretRef) || has(self.kubernetesServiceAccountToken)",
                "jwt needs secretRef or kubernetesServiceAccountToken",
            ),
        )
    )

    path: str = Field(default="jwt", description="Mount path of the method.")
    role: str | None = Field(default=None, description="Role to log in with; the method's default if absent.")
    secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the JWT; key jwt if absent. Wins over an account's token."
    )
    kubernetes_service_account_token: VaultServiceAccountToken | None = Field(
        default=None, description="A ServiceAccount's token is the JWT."
    )


class VaultCert(Model):
    """Login by a client certificate."""

    path: str = Field(default="cert", description="Mount path of the method.")
    vault_role: str | None = Field(default=None, description="Role to log in with; any that matches if absent.")
    client_cert: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the certificate; key tls.crt if absent."
    )
    secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the private key; key tls.key if absent."
    )


class AwsSecretRefs(Model):
    """Static AWS credentials."""

    access_key_id_secret_ref: SecretKeySelector | None = Field(
        default=None, alias="accessKeyIDSecretRef", description="Secret that holds the access key id."
    )
    secret_access_key_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the secret access key."
    )
    session_token_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the session token of temporary credentials."
    )


class AwsJwt(Model):
    """AWS credentials of a ServiceAccount."""

    service_account_ref: ServiceAccountSelector | None = Field(
        default=None, description="Account whose token is exchanged for AWS credentials."
    )


class VaultIam(Model):
    """Login by AWS IAM."""

    path: str | None = Field(default=None, description="Mount path of the method: aws if absent.")
    region: str | None = Field(default=None, description="AWS region.")
    role: str | None = Field(default=None, description="AWS role to assume before the login.")
    vault_role: str = Field(description="Vault role to log in with.")
    external_id: str | None = Field(
        default=None, alias="externalID", description="External id handed over when the AWS role is assumed."
    )
    vault_aws_iam_server_id: str | None = Field(
        default=None,
        alias="vaultAwsIamServerID",
        description="Value of the header X-Vault-AWS-IAM-Server-ID, if the server demands it.",
    )
    secret_ref: AwsSecretRefs | None = Field(default=None, description="Static AWS credentials.")
    jwt: AwsJwt | None = Field(default=None, description="AWS credentials of a ServiceAccount.")


class GcpSecretRef(Model):
    """A Google service account key."""

    secret_access_key_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the key file."
    )


class GcpWorkloadIdentity(Model):
    """Google credentials of a ServiceAccount."""

    service_account_ref: ServiceAccountSelector = Field(description="Account whose token is exchanged.")
    cluster_location: str | None = Field(default=None, description="Location of the cluster.")
    cluster_name: str | None = Field(default=None, description="Name of the cluster.")
    cluster_project_id: str | None = Field(
        default=None, alias="clusterProjectID", description="Project of the cluster."
    )


class VaultGcp(Model):
    """Login by Google Cloud IAM."""

    path: str = Field(default="gcp", description="Mount path of the method.")
    role: str = Field(description="Vault role to log in with.")
    project_id: str | None = Field(default=None, alias="projectID", description="Google project.")
    location: str | None = Field(default=None, description="Google location.")
    secret_ref: GcpSecretRef | None = Field(default=None, description="A Google service account key.")
    workload_identity: GcpWorkloadIdentity | None = Field(
        default=None, description="Google credentials of a ServiceAccount."
    )
    service_account_ref: ServiceAccountSelector | None = Field(
        default=None, description="Account to act as when the platform provides the credentials."
    )


class VaultAuth(Model):
    """The login. If several methods are set, the first in the order of `AUTH_METHODS` wins."""

    namespace: str | None = Field(
        default=None, description="Vault namespace of the login; that of the provider if absent."
    )
    token_secret_ref: SecretKeySelector | None = Field(default=None, description="Secret that holds a Vault token.")
    app_role: VaultAppRole | None = Field(default=None, description="Login by AppRole.")
    kubernetes: VaultKubernetes | None = Field(default=None, description="Login by a ServiceAccount's token.")
    ldap: VaultLdap | None = Field(default=None, description="Login by LDAP.")
    user_pass: VaultUserPass | None = Field(default=None, description="Login by user and password.")
    jwt: VaultJwt | None = Field(default=None, description="Login by a JWT.")
    cert: VaultCert | None = Field(default=None, description="Login by a client certificate.")
    iam: VaultIam | None = Field(default=None, description="Login by AWS IAM.")
    gcp: VaultGcp | None = Field(default=None, description="Login by Google Cloud IAM.")

    def method(self) -> str | None:
        """Return the name of the login method that wins (one of `AUTH_METHODS`), or None if none is set."""
        models = (
            self.token_secret_ref,
            self.app_role,
            self.kubernetes,
            self.ldap,
            self.user_pass,
            self.jwt,
            self.cert,
            self.iam,
            self.gcp,
        )
        for name, model in zip(AUTH_METHODS, models, strict=True):
            if model is not None:
                return name
        return None


class VaultTls(Model):
    """A client certificate for the connection."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.certSecretRef) == has(self.keySecretRef)", "tls needs both certSecretRef and keySecretRef"),
        )
    )

    cert_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the certificate; key tls.crt if absent."
    )
    key_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Secret that holds the private key; key tls.key if absent."
    )


class CheckAndSet(Model):
    """Whether writes state the version they replace."""

    required: Flag | None = Field(default=None, description="Write only on top of the version that was read.")


class VaultProvider(Model):
    """A Vault server, a mount on it, and the login."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.checkAndSet) || !has(self.checkAndSet.required) || !self.checkAndSet.required"
                    " || !has(self.version) || self.version != 'v1'"
                ),
                "checkAndSet needs version v2 of the KV engine",
            ),
        )
    )

    server: str = Field(description="Address of the server, such as https://vault.example.org:8200.")
    path: str | None = Field(default=None, description="Mount path of the KV engine, such as secret.")
    version: Literal["v1", "v2"] = Field(default="v2", description="Version of the KV engine.")
    namespace: str | None = Field(default=None, description="Vault namespace (Vault Enterprise, OpenBao).")
    ca_bundle: Annotated[str, WithJsonSchema({"type": "string", "format": "byte"})] | None = Field(
        default=None, description="Certificate authorities of the server, PEM in base64."
    )
    ca_provider: CAProvider | None = Field(default=None, description="Where the certificate authorities are kept.")
    tls: VaultTls | None = Field(default=None, description="A client certificate for the connection.")
    read_your_writes: Flag | None = Field(
        default=None, description="See one's own writes at once on a replicated server (Vault Enterprise)."
    )
    forward_inconsistent: Flag | None = Field(
        default=None, description="Have a replica forward reads that it cannot answer yet (Vault Enterprise)."
    )
    headers: dict[str, str] = Field(default_factory=dict, repr=False, description="Headers added to each request.")
    check_and_set: CheckAndSet | None = Field(default=None, description="How values are written.")
    auth: VaultAuth | None = Field(default=None, description="The login.")
