"""What alerts look like to services outside, as bytes."""
