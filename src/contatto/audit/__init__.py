"""Audit log of actions and of reads of contact data: hash-chained, with ids only."""
