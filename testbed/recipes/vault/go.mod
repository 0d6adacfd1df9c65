// The test bed's recipe for vault: built by `python -m testbed build`, never imported by anything.
module leasehold.test/testbed/vault

go 1.26.0

require github.com/hashicorp/vault v1.21.0

require github.com/hashicorp/vault-plugin-auth-kubernetes v0.23.0 // indirect

replace (
	github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
	github.com/hashicorp/vault/api => github.com/hashicorp/vault/api v1.22.0
	github.com/hashicorp/vault/sdk => github.com/hashicorp/vault/sdk v0.20.0
)
