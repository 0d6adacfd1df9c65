"""The test bed: a real control plane, Vault and PostgreSQL on loopback, for tests, demo and benchmarks.

Everything is built from published Go modules by the recipes beside this file, into a cache outside the tree, and
needs neither Docker nor root. Nothing in `leasehold` may import this package: the operator must not know that its
servers are small. `operator` starts it; no other module here knows it.

Start reading at `bed` (the whole set), then `controlplane`, `vault`, `postgres`, `pods`.
"""
