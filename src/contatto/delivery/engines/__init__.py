"""Files of decisions, and the engines that join training examples from them."""
