"""Parts of the benchmark of intake."""
