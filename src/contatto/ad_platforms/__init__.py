"""Ad accounts elsewhere: their campaigns and ads mirrored, and what they cost each day."""
