"""What we know and what we decide: frozen values in, verdicts out.

Nothing here waits, reads a clock, draws randomness or talks to anybody; time is an argument. Everything hard is
decided in this room, so that it can be tested as tables.
"""
