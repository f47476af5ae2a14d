"""The dashboard and the alerts match the metrics."""

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
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
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
    """The labels of each metric that the service exposes."""
    metrics = Metrics()
    metrics.requests.labels("GET", "/", 200).inc()
    metrics.seconds.labels("/").observe(0.1)
    metrics.info.labels("1").set(1)
    return {name: {label for label, _value in labels} for name, *labels in read(metrics.text().decode())}


@pytest.mark.parametrize("expression", expressions())
def test_expressions_use_existing_metrics(exposed, expression):
    """Each expression uses only existing metrics and labels."""
    for name, conditions in ASKED.findall(expression):
        assert name in exposed
        assert set(LABEL.findall(conditions)) <= exposed[name] | BY_PROMETHEUS


def test_every_metric_is_used(exposed):
    """Every metric is used by the dashboard or an alert."""
    asked = {name for expression in expressions() for name, _conditions in ASKED.findall(expression)}
    parts = re.compile(r"_(count|sum|created)$")  # parts of a histogram, which is used by its buckets

    assert {name for name in exposed if not parts.search(name)} == asked


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_have_severity_and_runbook(rule):
    """Each alert has a severity, a summary and a runbook section that exists."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    page, _, section = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.fixture
def promtool():
    """Run promtool.  The test fails with its output."""
    tool = shutil.which("promtool")
    if tool is None and not os.environ.get("CI"):
        pytest.skip("no promtool here; CI has it")
    assert tool

    def promtool(*words):
        run = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr

    return promtool


def test_alert_syntax(promtool):
    """The alerts pass promtool."""
    promtool("check", "rules", ALERTS)


def test_dashboard_syntax(promtool, tmp_path):
    """The expressions of the dashboard pass promtool."""
    filled = [expression.replace("$__rate_interval", "5m") for expression in drawn()]
    recorded = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(filled)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))

    promtool("check", "rules", tmp_path / "rules.yaml")


def test_alerts_fire_when_they_should(promtool):
    """The alerts fire exactly for the series in alerts.yaml that should trigger them."""
    promtool("test", "rules", Path(__file__).parent / "alerts.yaml")
