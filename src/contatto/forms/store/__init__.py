"""Tables of forms and their answers, and pictures of forms."""
