"""The command line: what may be written, what is printed, and how the program ends."""
