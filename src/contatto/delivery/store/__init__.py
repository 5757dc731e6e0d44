"""The log of delivery, its models, and the ledger of what was charged."""
