"""CRM events in Kafka become live sales KPIs in Prometheus and Grafana."""
