"""What is asked of delivery and decided, and the lines by which any program can play the world."""
