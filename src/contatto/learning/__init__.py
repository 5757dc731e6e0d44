"""Training, auctions and pacing of one marketplace in memory."""
