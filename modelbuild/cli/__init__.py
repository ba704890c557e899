"""The command line: its options, its commands, what it prints and its exit codes."""
