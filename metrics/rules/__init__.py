"""The rules of the business: time zone, SLA, calendars, currency, tiers; what may not be shown."""
