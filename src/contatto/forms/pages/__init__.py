"""The list of forms, the builder with its preview, and the answers."""
