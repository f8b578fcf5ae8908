"""The media pipeline as tools for agents, by the Model Context Protocol."""
