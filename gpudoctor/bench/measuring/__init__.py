"""What the phases share: how an operation is timed, on which numbers, and how its result is checked."""
