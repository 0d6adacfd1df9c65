"""Kinds that make values instead of reading them, one module each.

A generator that needs no backend (Password, UUID, ...) makes its values here. Those that ask a backend for a lease
live with their provider: a VaultDynamicSecret is minted by `providers.vault`, opened through the registry.
"""
