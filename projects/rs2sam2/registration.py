"""The one place where components enter mmseg's registries."""
