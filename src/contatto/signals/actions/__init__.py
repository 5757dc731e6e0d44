"""What is done with signals: settings, scheduling, sending, testing, erasing, and the ledger."""
