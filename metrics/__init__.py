"""What events mean: entities, measures, panes, windows and the KPI catalogue. Pure: no clock, no Kafka."""
