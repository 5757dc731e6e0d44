"""Parts of the benchmark of fairness: an installation of real processes, a busy tenant, and a quiet one."""
