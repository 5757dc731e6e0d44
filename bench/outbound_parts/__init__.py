"""Parts of bench/outbound.py."""
