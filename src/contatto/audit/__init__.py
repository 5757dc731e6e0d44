"""The log of who did what and who looked at whose contact values: chained, with ids and nothing else."""
