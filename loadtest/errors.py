"""The user errors of load tests."""

from features.errors import PsadError


class LoadError(PsadError):
    """A load test that cannot be run as it was asked for."""
