"""What developers of the pipeline run on its sources."""
