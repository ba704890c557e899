"""A bounded reader of Jinja: the part of it that chat templates use, in bounded time and memory, with nothing of Python in reach."""
