"""Parts of the benchmark of auctions between businesses."""
