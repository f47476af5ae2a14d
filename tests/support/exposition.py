"""Metrics in the text format of Prometheus."""

from prometheus_client.parser import text_string_to_metric_families


def read(exposition):
    """Every sample of a text in Prometheus' format, by its name and its labels."""
    families = text_string_to_metric_families(exposition)
    return {(sample.name, *sorted(sample.labels.items())): sample.value for f in families for sample in f.samples}
