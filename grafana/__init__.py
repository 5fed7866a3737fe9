"""What people see: dashboards and alert rules, generated from the catalogue of KPIs."""
