"""What is taken out of a snapshot before it leaves the machine."""
