"""The parts of the benchmark of learning: the learner by itself, and one module for each set of real data."""
