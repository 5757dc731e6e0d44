"""Parts of the benchmarks of forms and clicks."""
