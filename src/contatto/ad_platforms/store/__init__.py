"""Tables of ad accounts elsewhere, of what was mirrored, and of what it cost."""
