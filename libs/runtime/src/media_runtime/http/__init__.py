"""The HTTP of services: apps, their guard, tokens, limits and OpenAPI."""
