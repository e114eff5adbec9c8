"""Makers that tests of several rooms share: tiny models, pictures, rasters, work dirs, folders of the hub's form."""
