"""The command `rs2sam2`."""
