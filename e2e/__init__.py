"""The whole operator as a process, on real servers, doing what a user would see: the demo, and the same as a test.

Nothing here knows the operator's inside. It is started as a user would start it, and judged by what Kubernetes, Vault
and PostgreSQL say.
"""
