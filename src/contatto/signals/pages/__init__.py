"""The page of an ad account's signals."""
