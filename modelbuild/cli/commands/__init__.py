"""The commands, one file each: its docstring is the help, `parameters()` what may be written, `run()` what is done."""
