"""The trust gate: what is read of an upload before any decoder sees it."""
