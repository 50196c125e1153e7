"""What the machines of this house need beside what every GPU machine needs."""
