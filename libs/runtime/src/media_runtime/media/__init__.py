"""Media files, opened in a jail: ffmpeg, pictures and what they are made of."""
