"""The commands of the CLI, one module for each concern."""
