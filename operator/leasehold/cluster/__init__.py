"""The only room that talks to Kubernetes: a thin client, what we last heard, and the ports that flows use.

Nothing is decided here. Values of Secrets pass through ``secrets``, ``records``, ``keys`` and ``credentials`` only.
"""
