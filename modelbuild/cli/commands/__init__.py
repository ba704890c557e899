"""Commands, one file each: its docstring is the help, `parameters()` its options, and `run()` what it does."""
