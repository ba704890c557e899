"""A build on several machines: the submitting side sends actions, workers run them, and the shared cache carries the bytes."""
