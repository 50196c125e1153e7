"""Facts about a machine: one module a subject, each with the values' types and the functions that find them out.

Facts are NamedTuples: as immutable and typed as frozen dataclasses, at a sixth of their cost at every start.
"""
