"""Who outside is told what, and how: subscriptions to leads and messages, and their pushes."""
