"""A session is one run of modelbuild over one project."""
