"""When to look at what: one due-queue, bounded workers, and the clock. Knows keys and times, nothing else."""
