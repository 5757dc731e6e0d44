"""Requests to outside systems: kept as rows, sent beside each other, tried again, given up, replayed."""
