"""Faults under load, and what they cost: `make chaos` prints the table of docs/reliability.md."""
