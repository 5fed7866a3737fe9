"""What happened: the canonical CRM events, their codec and their JSON Schemas."""
