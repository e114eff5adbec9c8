"""The service of `rs2sam2 serve`: images and scenes over HTTP (extra `[serve]`)."""
