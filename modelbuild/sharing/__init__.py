"""Sharing joins the store of this machine with a remote: what one machine made, others find by the sha256 of what it was made of."""
