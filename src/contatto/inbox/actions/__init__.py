"""Actions of the inbox, one module for each subject."""
