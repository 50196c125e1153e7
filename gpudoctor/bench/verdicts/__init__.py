"""What the measured numbers mean, one module a kind: pure functions of `measures`, each threshold with its source."""
