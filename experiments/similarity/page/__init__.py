"""The search page: a small server on loopback, on top of the tools."""
