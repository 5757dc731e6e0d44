"""The mark of what stands sealed in its row."""

type SealedText = str
"""A field of a dataclass that is read from a row: its column is sealed, and a transaction opens it.

An empty text is kept as no value at all.
"""
