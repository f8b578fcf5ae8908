"""Media files, opened in a sandbox: ffmpeg, pictures and what they are made of."""
