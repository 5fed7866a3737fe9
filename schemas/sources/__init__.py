"""Foreign data to events: mappings over CRM exports (``convert``) and the payloads of webhooks."""
