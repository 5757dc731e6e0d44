"""One module per family of contact fields, and what they share: folding, words, context."""
