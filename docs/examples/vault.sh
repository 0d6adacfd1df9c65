#!/bin/sh
# Everything that the quickstart needs in Vault. docs/how-to/vault-setup.md says what each part is for.
# Asks for VAULT_ADDR and VAULT_TOKEN, and takes these from the environment where they differ:
set -eu
: "${OPERATOR_NAMESPACE:=leasehold}" "${OPERATOR_ACCOUNT:=leasehold}"
: "${KUBERNETES_HOST:=https://kubernetes.default.svc}"
: "${POSTGRES_HOST:=postgres.backends:5432}" "${POSTGRES_USER:=postgres}" "${POSTGRES_PASSWORD:=postgres}"
: "${LEASE_TTL:=1m}" "${LEASE_MAX_TTL:=3m}"

# --- Kubernetes logins -----------------------------------------------------------------------------------------------
vault auth enable kubernetes
# Inside of a cluster this is enough: Vault reviews tokens as its own ServiceAccount, which needs the ClusterRole
# system:auth-delegator.
vault write auth/kubernetes/config kubernetes_host="$KUBERNETES_HOST" ${KUBERNETES_CONFIG:-}

# --- The operator's own identity: it keeps and ends leases and reads no secret ----------------------------------------
vault policy write leasehold - <<POLICY
path "auth/token/renew-accessor"  { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "sys/leases/renew"           { capabilities = ["update"] }
path "sys/leases/lookup"          { capabilities = ["update"] }
path "sys/leases/revoke"          { capabilities = ["update"] }
path "auth/token/lookup-self"     { capabilities = ["read"] }
path "auth/token/renew-self"      { capabilities = ["update"] }
path "auth/token/revoke-self"     { capabilities = ["update"] }
POLICY
vault write auth/kubernetes/role/leasehold \
  bound_service_account_namespaces="$OPERATOR_NAMESPACE" bound_service_account_names="$OPERATOR_ACCOUNT" \
  audience=vault token_policies=leasehold token_ttl=10m token_no_default_policy=true

# --- Static values: a role that reads ---------------------------------------------------------------------------------
vault secrets list -format=json | grep -q '"secret/"' || vault secrets enable -path=secret -version=2 kv
vault kv put -mount=secret payments/settings feature=on greeting="good morning"
vault policy write payments - <<POLICY
path "secret/data/payments/*"  { capabilities = ["read"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/renew-self"   { capabilities = ["update"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
POLICY
vault write auth/kubernetes/role/payments \
  bound_service_account_namespaces=payments bound_service_account_names=payments \
  audience=vault token_policies=payments token_ttl=20m token_no_default_policy=true

# --- Leased credentials: the database, and a role that owns leases ----------------------------------------------------
vault secrets enable database
vault write database/config/payments \
  plugin_name=postgresql-database-plugin allowed_roles=payments password_authentication=scram-sha-256 \
  connection_url="postgresql://{{username}}:{{password}}@$POSTGRES_HOST/postgres" \
  username="$POSTGRES_USER" password="$POSTGRES_PASSWORD"
vault write database/roles/payments db_name=payments default_ttl="$LEASE_TTL" max_ttl="$LEASE_MAX_TTL" \
  creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';" \
  revocation_statements="DROP ROLE IF EXISTS \"{{name}}\";"
vault policy write payments-database - <<POLICY
path "database/creds/payments" { capabilities = ["read"] }
POLICY
vault write auth/kubernetes/role/payments-database \
  bound_service_account_namespaces=payments bound_service_account_names=payments \
  audience=vault token_policies=payments-database token_type=service token_period=24h token_no_default_policy=true
