"""Pollers: what webhooks do not send, or lose, is fetched from the source's API and written to its raw topic."""
