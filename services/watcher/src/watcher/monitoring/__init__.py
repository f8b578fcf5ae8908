"""Looks at the pipeline, and what is found there: backlog, lag, failures, quotas, space."""
