"""Measures: the additive quantities that KPIs are made of, and the buckets of distributions."""
