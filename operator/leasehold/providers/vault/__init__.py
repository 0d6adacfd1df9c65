"""HashiCorp Vault and servers that speak like it: KV of both versions, every engine that leases, login and leases.

Facts about the wire were run on real servers (`docs/explanation/leases.md`). hvac's surface is kept on an adapter of
our own; no other room imports hvac or learns a Vault status code.
"""
