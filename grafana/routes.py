"""Alertmanager's configuration, made from the thresholds: who is told of what, when, and what silences what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salesgauge.grafana.rules import BUSINESS, ENGINE

if TYPE_CHECKING:
    from salesgauge.grafana.thresholds import Thresholds

_URGENT = {"group_wait": "10s", "group_interval": "1m", "repeat_interval": "1h"}
_DIGEST = {"group_wait": "5m", "group_interval": "1h", "repeat_interval": "24h"}
_HEARTBEAT = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "5m"}


def alertmanager(thresholds: Thresholds) -> dict[str, Any]:
    """The document of ``prometheus/alertmanager.yml``.

    Secrets are files: ``slack_url`` (address of the incoming webhook), ``smtp_password`` and ``webhook_token``.
    """
    notify = thresholds.notify
    return {
        "global": {
            "resolve_timeout": "5m",
            "slack_api_url_file": f"{notify.secrets}/slack_url",
            "smtp_smarthost": notify.email.smarthost,
            "smtp_from": notify.email.from_,
            "smtp_auth_username": notify.email.username,
            "smtp_auth_password_file": f"{notify.secrets}/smtp_password",
            "smtp_require_tls": True,
        },
        "templates": ["templates/*.tmpl"],
        "time_intervals": [{"name": "business-hours", "time_intervals": [_hours(thresholds)]}],
        "route": _route(thresholds),
        "inhibit_rules": _inhibitions(),
        "receivers": _receivers(thresholds),
    }


def _hours(thresholds: Thresholds) -> dict[str, Any]:
    hours = thresholds.business_hours
    return {
        "weekdays": list(hours.weekdays),
        "times": [{"start_time": f"{hours.opens:%H:%M}", "end_time": f"{hours.closes:%H:%M}"}],
        "location": hours.zone,
    }


def _route(thresholds: Thresholds) -> dict[str, Any]:
    teams = [_team_route(team) for team in sorted(thresholds.notify.teams)]
    return {
        "receiver": "business",
        "group_by": ["alertname", "team"],
        "group_wait": "30s",
        "group_interval": "2m",
        "repeat_interval": "4h",
        "routes": [
            {"matchers": ['alertname="Watchdog"'], "receiver": "heartbeat", **_HEARTBEAT},
            {
                "matchers": [f'layer="{ENGINE}"'],
                "receiver": "engine",
                "group_by": ["alertname"],
                "routes": [
                    {"matchers": ['severity="critical"'], "receiver": "engine-critical", **_URGENT},
                    {"matchers": ['severity="info"'], "receiver": "engine", **_DIGEST},
                ],
            },
            {
                "matchers": [f'layer="{BUSINESS}"', 'severity="info"'],
                "receiver": "business-digest",
                "active_time_intervals": ["business-hours"],
                **_DIGEST,
            },
            *teams,
            {"matchers": [f'layer="{BUSINESS}"', 'severity="critical"'], "receiver": "business-critical", **_URGENT},
        ],
    }


def _team_route(team: str) -> dict[str, Any]:
    return {
        "matchers": [f'layer="{BUSINESS}"', f'team="{team}"'],
        "receiver": f"team-{team}",
        "routes": [{"matchers": ['severity="critical"'], "receiver": f"team-{team}-critical", **_URGENT}],
    }


def _inhibitions() -> list[dict[str, Any]]:
    return [
        # While the boards cannot be trusted, nobody is woken for what they show.
        {"source_matchers": ['blinds="true"'], "target_matchers": [f'layer="{BUSINESS}"']},
        # The graver notice of the same thing, in the same team, is enough.
        {
            "source_matchers": ['severity="critical"'],
            "target_matchers": ['severity=~"warning|info"'],
            "equal": ["subject", "team"],
        },
        # Without an exporter everything about it follows; without workers their partitions do.
        {
            "source_matchers": ['alertname="ExporterDown"'],
            "target_matchers": ['alertname=~"ExporterNotReady|BoardsStale|ExporterLags"'],
        },
        {
            "source_matchers": ['alertname="NoWorker"'],
            "target_matchers": ['alertname=~"WorkerDown|BoardsStale|ExporterNotReady|NoEventsInBusinessHours"'],
        },
    ]


def _receivers(thresholds: Thresholds) -> list[dict[str, Any]]:
    notify = thresholds.notify
    slack, email = notify.slack, notify.email
    webhook = _webhook(notify.webhook, notify.secrets)
    receivers = [
        {"name": "heartbeat", "webhook_configs": [_webhook(notify.heartbeat, notify.secrets)]},
        _receiver("engine", slack.engine_channel),
        _receiver("engine-critical", slack.engine_channel, email.engine_to, webhook),
        _receiver("business", slack.channel, webhook=webhook),
        _receiver("business-critical", slack.channel, email.to, webhook),
        _receiver("business-digest", email=email.to),
    ]
    for name, team in sorted(notify.teams.items()):
        receivers.append(_receiver(f"team-{name}", team.channel, webhook=webhook))
        receivers.append(_receiver(f"team-{name}-critical", team.channel, team.to, webhook))
    return receivers


def _receiver(name: str, channel: str = "", email: str = "", webhook: dict[str, Any] | None = None) -> dict[str, Any]:
    receiver: dict[str, Any] = {"name": name}
    if channel:
        receiver["slack_configs"] = [_slack(channel)]
    if email:
        receiver["email_configs"] = [_email(email)]
    if webhook:
        receiver["webhook_configs"] = [webhook]
    return receiver


def _slack(channel: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "send_resolved": True,
        "color": '{{ template "salesgauge.color" . }}',
        "title": '{{ template "salesgauge.title" . }}',
        "title_link": '{{ template "salesgauge.link" . }}',
        "text": '{{ template "salesgauge.text" . }}',
        "fallback": '{{ template "salesgauge.title" . }}',
    }


def _email(to: str) -> dict[str, Any]:
    return {
        "to": to,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "salesgauge.title" . }}'},
        "html": '{{ template "salesgauge.html" . }}',
        "text": '{{ template "salesgauge.text" . }}',
    }


def _webhook(url: str, secrets: str) -> dict[str, Any]:
    return {
        "url": url,
        "send_resolved": True,
        "max_alerts": 100,
        "http_config": {"authorization": {"credentials_file": f"{secrets}/webhook_token"}},
    }
