"""The KPI catalogue: the 38 KPIs by role and the 12 of the starter template.

To add a KPI, add an entry to one of these modules and run ``salesgauge generate``; docs/adding-a-kpi.md has a
walk-through.
"""

from __future__ import annotations

from salesgauge.metrics.kpis.catalogue import (
    account_manager,
    business_development,
    marketing,
    pipeline,
    recurring,
    sales_development,
    sales_manager,
    starter,
)
from salesgauge.metrics.kpis.kpi import Catalogue

CATALOGUE = Catalogue(
    (
        *sales_manager.KPIS,
        *pipeline.KPIS,
        *business_development.KPIS,
        *account_manager.KPIS,
        *recurring.KPIS,
        *sales_development.KPIS,
        *marketing.KPIS,
        *starter.KPIS,
    )
)
"""All KPIs, in the order in which people read them."""
