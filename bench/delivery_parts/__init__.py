"""The parts of the benchmark of delivery: what is played, and the targets that it is held to."""
