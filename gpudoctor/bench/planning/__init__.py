"""Nets as text and as data, and what they will cost before they are run. Nothing here brings NumPy."""
