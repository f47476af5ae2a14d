"""Metrics in the text format of Prometheus."""

from prometheus_client.parser import text_string_to_metric_families


def read(exposition: str) -> dict[tuple[str, *tuple[tuple[str, str], ...]], float]:
    """The value of every sample, by its name and sorted labels."""
    families = text_string_to_metric_families(exposition)
    return {(sample.name, *sorted(sample.labels.items())): sample.value for f in families for sample in f.samples}
