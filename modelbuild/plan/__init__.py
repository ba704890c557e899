"""The plan makes a graph of steps from variants, and preflight checks it before a build."""
