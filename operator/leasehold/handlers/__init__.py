"""The ear: kopf hears the API server and every handler passes on what it heard, within microseconds and without I/O.

kopf decides nothing here. Only ``on.event`` is used: create/update handlers, timers, daemons and indexes write
annotations and finalizers, or cost the square of the number of objects.
"""
