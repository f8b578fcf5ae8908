"""What the pipeline remembers: tables, migrations, and the life cycle of an asset."""
