"""The dashboard and the alerts: each number that they ask for is one that there is."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.observability.metrics import Metrics
from support.exposition import read

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "latchkey.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"

ASKED = re.compile(r"\b(latchkey_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)\s*(?:=|!=|=~|!~)\s*"')
BY_PROMETHEUS = {"instance", "le"}


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def drawn():
    return [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]


def expressions():
    chosen = [variable["query"] for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]]
    return drawn() + chosen + [rule["expr"] for rule in rules()]


@pytest.fixture(scope="module")
def exposed():
    """The labels of each name that /metrics has."""
    metrics = Metrics()
    metrics.requests.labels("GET", "/", 200).inc()
    metrics.seconds.labels("/").observe(0.1)
    metrics.info.labels("1").set(1)
    return {name: {label for label, _value in labels} for name, *labels in read(metrics.text().decode())}


@pytest.mark.parametrize("expression", expressions())
def test_it_asks_for_what_there_is(exposed, expression):
    """By its name, and by the labels that it has."""
    for name, conditions in ASKED.findall(expression):
        assert name in exposed
        assert set(LABEL.findall(conditions)) <= exposed[name] | BY_PROMETHEUS


def test_what_is_exposed_is_looked_at(exposed):
    """What nobody looks at need not be counted."""
    asked = {name for expression in expressions() for name, _conditions in ASKED.findall(expression)}
    parts = re.compile(r"_(count|sum|created)$")  # of what is asked for by its buckets

    assert {name for name in exposed if not parts.search(name)} == asked


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule):
    """And the page has that section."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    page, _, section = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.fixture
def promtool():
    """Prometheus' own tool, which knows best; its complaint is the test's."""
    tool = shutil.which("promtool")
    if tool is None and not os.environ.get("CI"):
        pytest.skip("no promtool here; CI has it")
    assert tool

    def promtool(*words):
        run = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr

    return promtool


def test_prometheus_takes_the_alerts(promtool):
    """They are in its language."""
    promtool("check", "rules", ALERTS)


def test_prometheus_takes_what_the_dashboard_asks(promtool, tmp_path):
    """So are these, once Grafana has filled them in."""
    filled = [expression.replace("$__rate_interval", "5m") for expression in drawn()]
    recorded = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(filled)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))

    promtool("check", "rules", tmp_path / "rules.yaml")


def test_the_alerts_sound_when_they_should(promtool):
    """And are silent when they should not: told as series of numbers, and judged by Prometheus itself."""
    promtool("test", "rules", Path(__file__).parent / "alerts.yaml")
