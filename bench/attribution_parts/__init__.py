"""Parts of the benchmark of attribution: seeded events, and each way of counting them."""
