"""The user errors of this project: what was found, where, and what to do about it."""


class PsadError(Exception):
    """Base of every error that a user can cause and mend; its text is all a user needs to read."""


class SchemaError(PsadError):
    """A schema that contradicts itself, or data that contradicts the schema."""


class DataError(PsadError):
    """Logged data that cannot be read as lists."""


class BundleError(PsadError):
    """A bundle that is incomplete, altered, or made for another schema."""


class ValueRefused(PsadError):
    """A feature value that cannot be read as its feature's kind.

    `param` names the place (`candidates[3].features.price`), for the service's error shape.
    """

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param
        self.message = message
