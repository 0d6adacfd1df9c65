"""What users write: a frozen, typed model per kind, and the CRDs that are generated from them.

The lowest room of the house: it knows shapes, not meaning. No I/O, no clock, no decision, and no import from any
other room. Models are read with `api.parse`; the CRDs come from `api.crd`.
"""
