"""What failed in the background, and the way back: dead letters are shown, replayed and dismissed."""
