"""Makes pictures of uploaded images and videos."""
