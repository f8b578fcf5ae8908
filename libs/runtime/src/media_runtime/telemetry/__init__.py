"""What services tell of themselves: logs, metrics, traces, and terminals that show them."""
