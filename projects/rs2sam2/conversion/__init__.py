"""Names of published weights and ours, in both directions."""
