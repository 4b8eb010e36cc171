"""Golden tests: numbers of the original implementation, one folder per case."""
