"""What others see of us while we run: log lines, metrics, health answers.

This room takes in words, numbers and names, never a secret value, and it decides nothing. It must not import settings,
the cluster or a provider: whoever has something to tell is handed a small typed function of this room by `app`.
"""
