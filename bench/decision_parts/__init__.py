"""Parts of the benchmark of ad decisions."""
