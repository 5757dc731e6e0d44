"""Which ad is shown to a viewer, and what the view or the tap costs."""
