"""Finished models go into a models folder, and come out of it again."""
