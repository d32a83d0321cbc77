"""A made-up platform whose true value of any order is known. The law: docs/simulator.md."""
