"""Where secrets come from: one module (a folder past 300 lines) per provider, each the only door to its SDK.

A provider implements the capabilities that it has (`Reader`, `Leaser`, `Checker` of `domain.ports`) and translates its
SDK's errors at its own edge. It never reads the cluster: what a store refers to comes through `Credentials`. Nothing
here decides what a missing secret or a failed renewal means; that is the flows' and the domain's.
"""
