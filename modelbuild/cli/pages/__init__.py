"""Pages for a browser, one module a page."""
