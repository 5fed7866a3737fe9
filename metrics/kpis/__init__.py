"""The KPIs: what each one is, the catalogue, and its readings at an instant."""
