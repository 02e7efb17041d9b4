"""What this project adds to Flower's server, behind the same login: metrics, the operator's pages, lines of tasks."""

from importlib import resources

import flower.urls
from flower.options import options
from tornado.ioloop import IOLoop
from tornado.web import url

from config.settings import Settings
from worker.processes.flower.action_page import ActionPage
from worker.processes.flower.audit_page import AuditPage
from worker.processes.flower.failures_page import CausePage, FailuresPage
from worker.processes.flower.merchant_page import MerchantPage
from worker.processes.flower.metrics_page import MetricsPage
from worker.processes.flower.overview_page import OverviewPage
from worker.processes.flower.page import Static
from worker.processes.flower.rejected_page import RejectedPage, RejectionPage
from worker.processes.flower.shipment_page import ShipmentPage
from worker.processes.flower.shipments_page import ShipmentsPage
from worker.processes.flower.sources import Sources
from worker.processes.flower.task_lines import format_task
from worker.processes.flower.templates import Templates
from worker.processes.readings import METRICS_PATH

_MERCHANT = "([A-Za-z0-9_-]+)"


def install(settings: Settings) -> None:
    """Add our pages before Flower's last one, which matches any path. Call it before Flower creates its server."""
    files = str(resources.files("worker.processes.flower") / "static")
    sources = Sources(settings)
    shared = {"sources": sources}
    flower.urls.handlers[:0] = [
        url("/allocation", OverviewPage, shared, name="allocation"),
        url("/allocation/", OverviewPage, shared),
        url(METRICS_PATH, MetricsPage, shared, name="allocation_metrics"),
        url("/allocation/failures", FailuresPage, shared, name="allocation_failures"),
        url("/allocation/failures/cause", CausePage, shared, name="allocation_cause"),
        url("/allocation/shipments", ShipmentsPage, shared, name="allocation_shipments"),
        url(f"/allocation/shipments/{_MERCHANT}/([^/]+)", ShipmentPage, shared, name="allocation_shipment"),
        url(f"/allocation/merchants/{_MERCHANT}", MerchantPage, shared, name="allocation_merchant"),
        url("/allocation/rejected", RejectedPage, shared, name="allocation_rejected"),
        url("/allocation/rejected/([0-9-]+)", RejectionPage, shared, name="allocation_rejection"),
        url("/allocation/audit", AuditPage, shared, name="allocation_audit"),
        url("/allocation/actions/([a-z_]+)", ActionPage, shared, name="allocation_action"),
        url("/allocation/static/(.*)", Static, {"path": files}, name="allocation_static"),
    ]
    IOLoop.current().add_callback(sources.warm_up)
    options.format_task = format_task
    # Flower's script reads the cookie, so it is not HttpOnly.
    flower.urls.settings["xsrf_cookie_kwargs"] = {"samesite": "Strict"}
    flower.urls.settings["template_loader"] = Templates(flower.urls.settings["template_path"])
