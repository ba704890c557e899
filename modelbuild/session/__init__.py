"""One run of the tool over one project."""
