"""Where finished models go."""
