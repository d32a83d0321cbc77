"""What a list is in numbers: schema, encoding, derived statistics, catalogue, bundle.

numpy and pydantic only, so that training and the serving image run the very same code.
"""
