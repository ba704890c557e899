"""Pages for a browser, one module each."""
