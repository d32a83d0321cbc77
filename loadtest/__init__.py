"""Load for the service: real requests, people's journeys, and an open loop. See README.md here."""
