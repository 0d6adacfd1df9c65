"""The verbs, one straight function each: look, decide, act, report. All thinking is in ``domain``.

A flow meets the world through ports only. One ``try`` per pass turns a domain error into its report; nobody else
catches.
"""
