"""One file per ad platform: a signal as a request, and its answer as an outcome."""
