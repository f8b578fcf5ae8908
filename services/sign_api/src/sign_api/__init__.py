"""Upload grants and asset queries over HTTP."""
