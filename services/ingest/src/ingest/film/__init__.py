"""A film as a grid of frames that is cut into chunks: planned before a frame is decoded."""
