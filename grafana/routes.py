"""Alertmanager's configuration, made from the thresholds: who is told of what, when, and what silences what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salesgauge.grafana.rules import BUSINESS, ENGINE

if TYPE_CHECKING:
    from salesgauge.grafana.thresholds import Notify, Thresholds, Webhook

_URGENT = {"group_wait": "10s", "group_interval": "1m", "repeat_interval": "1h"}
_DIGEST = {"group_wait": "5m", "group_interval": "1h", "repeat_interval": "24h"}
_HEARTBEAT = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "5m"}


def alertmanager(thresholds: Thresholds) -> dict[str, Any]:
    """The document of ``prometheus/alertmanager.yml``.

    Secrets are files: ``slack_url`` and ``msteams_url`` (addresses of incoming webhooks), ``smtp_password`` and
    ``webhook_token``. Only what is configured is named; with no channel at all, alerts are seen in Alertmanager only.
    """
    return {
        "global": {"resolve_timeout": "5m", **_global(thresholds.notify)},
        "templates": ["templates/*.tmpl"],
        "time_intervals": [{"name": "business-hours", "time_intervals": [_hours(thresholds)]}],
        "route": _route(thresholds),
        "inhibit_rules": _inhibitions(),
        "receivers": _receivers(thresholds),
    }


def _global(notify: Notify) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if notify.slack:
        made["slack_api_url_file"] = f"{notify.secrets}/slack_url"
    if (email := notify.email) is not None:
        made |= {"smtp_smarthost": email.smarthost, "smtp_from": email.from_, "smtp_require_tls": email.tls}
        if email.username:
            password = f"{notify.secrets}/smtp_password"
            made |= {"smtp_auth_username": email.username, "smtp_auth_password_file": password}
    return made


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
    channel, to = slack.channel if slack else "", email.to if email else ""
    engine_channel = slack.engine_channel or channel if slack else ""
    engine_to = email.engine_to or to if email else ""
    made = _Receivers(notify)
    beat = [_webhook(notify.heartbeat, notify.secrets)] if notify.heartbeat else []
    receivers = [
        {"name": "heartbeat"} | ({"webhook_configs": beat} if beat else {}),
        made.receiver("engine", engine_channel, "" if made.chats else engine_to),
        made.receiver("engine-critical", engine_channel, engine_to),
        made.receiver("business", channel, "" if made.chats else to),
        made.receiver("business-critical", channel, to),
        # Not urgent: by e-mail; where there is none, in the channel.
        made.receiver("business-digest", "" if to else channel, to),
    ]
    for name, team in sorted(notify.teams.items()):
        own_channel, own_to = team.channel or channel, team.to or to
        receivers.append(made.receiver(f"team-{name}", own_channel, "" if made.chats else own_to))
        receivers.append(made.receiver(f"team-{name}-critical", own_channel, own_to))
    return receivers


@dataclass(frozen=True, slots=True)
class _Receivers:
    """Makes receivers from the channels that are configured."""

    notify: Notify

    @property
    def chats(self) -> bool:
        """Whether there is a channel for what is not critical; otherwise it goes by e-mail."""
        return bool(self.notify.slack or self.notify.msteams or self.notify.webhook)

    def receiver(self, name: str, channel: str, to: str) -> dict[str, Any]:
        """A receiver of a name: the given channel and address, and the channels that all have in common."""
        made: dict[str, Any] = {"name": name}
        if channel:
            made["slack_configs"] = [_slack(channel)]
        if self.notify.msteams:
            made["msteamsv2_configs"] = [_msteams(self.notify.secrets)]
        if to:
            made["email_configs"] = [_email(to)]
        if self.notify.webhook:
            made["webhook_configs"] = [_webhook(self.notify.webhook, self.notify.secrets)]
        return made


def _slack(channel: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "send_resolved": True,
        "color": '{{ template "salesgauge.color" . }}',
        "title": '{{ template "salesgauge.slack.title" . }}',
        "title_link": '{{ template "salesgauge.link" . }}',
        "text": '{{ template "salesgauge.slack.text" . }}',
        "fallback": '{{ template "salesgauge.slack.title" . }}',
    }


def _msteams(secrets: str) -> dict[str, Any]:
    return {
        "webhook_url_file": f"{secrets}/msteams_url",
        "send_resolved": True,
        "title": '{{ template "salesgauge.title" . }}',
        "text": '{{ template "salesgauge.text" . }}',
    }


def _email(to: str) -> dict[str, Any]:
    return {
        "to": to,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "salesgauge.title" . }}'},
        "html": '{{ template "salesgauge.html" . }}',
        "text": '{{ template "salesgauge.text" . }}',
    }


def _webhook(webhook: Webhook, secrets: str) -> dict[str, Any]:
    made: dict[str, Any] = {"url": webhook.url, "send_resolved": True, "max_alerts": 100}
    if webhook.token:
        made["http_config"] = {"authorization": {"credentials_file": f"{secrets}/webhook_token"}}
    return made
