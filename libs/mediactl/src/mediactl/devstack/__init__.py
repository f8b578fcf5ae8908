"""The pipeline on one machine: its servers and services, in containers or as processes."""
