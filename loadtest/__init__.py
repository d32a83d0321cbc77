"""Load for the service."""
