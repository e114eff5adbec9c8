"""The page of `rs2sam2 demo`: try a model in a browser on this machine (extra `[demo]`)."""
