"""Reports of costs and results of ads: metrics, days counted ahead, pages and files."""
