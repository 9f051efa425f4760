"""`metrics`, read by the parser of Prometheus' own client."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cni_cli import metrics
from cni_cli.metrics import HELP, PREFIX, Sample

REPOSITORY = Path(__file__).parents[2]

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Values:
    """The value of each metric, by its name without the prefix and its labels."""
    families = list(text_string_to_metric_families(text))
    assert all(family.type == "gauge" and family.documentation for family in families)
    found = {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    assert len(found) == sum(len(family.samples) for family in families)
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Sample]], None]:
    def tell(samples: list[Sample]) -> None:
        monkeypatch.setattr(metrics, "samples", lambda _: iter(samples))
        monkeypatch.setattr(metrics, "networks_in", lambda _: [])

    return tell


SAMPLES: list[Sample] = [
    ("build_info", {"version": "1"}, 1),
    ("pool_addresses", {"network": 'a"b\\c\nd', "pool": "0", "family": "IPv6"}, 2.0**64),
    ("pool_addresses", {"network": "\udcff", "pool": "0", "family": "IPv4"}, 252),
    ("attachments", {"network": "lan", "kind": "macvlan"}, 3),
    ("cluster_last_contact_timestamp_seconds", {"cluster": "office"}, 1795630983.25),
]


def test_what_is_found_is_what_prometheus_reads(
    told: Callable[[list[Sample]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    told(SAMPLES)
    assert metrics.run(argparse.Namespace(dir="", output=None)) == 0
    assert read(capsys.readouterr().out) == {
        (name, tuple(sorted((key, value.replace("\udcff", "\\udcff")) for key, value in labels.items()))): value
        for name, labels, value in SAMPLES
    }


def test_the_file_is_replaced_whole(told: Callable[[list[Sample]], None], tmp_path: Path) -> None:
    """node_exporter reads FILE.prom at any moment."""
    told(SAMPLES)
    file = tmp_path / "cni.prom"
    file.write_text("old")
    before = file.stat().st_ino
    assert metrics.run(argparse.Namespace(dir="", output=str(file))) == 0
    assert len(read(file.read_text())) == len(SAMPLES)
    assert file.stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir()] == ["cni.prom"]
    assert file.stat().st_mode & 0o444 == 0o444


def test_names_are_as_prometheus_wants_them() -> None:
    for name in HELP:
        assert name.replace("_", "").islower()
        assert not name.endswith(("_total", "_count", "_sum", "_bucket"))


def test_the_page_and_the_dashboard_have_every_metric() -> None:
    page = (REPOSITORY / "docs/watching.md").read_text()
    assert set(re.findall(rf"^\| `{PREFIX}(\w+)` ", page, re.MULTILINE)) == HELP.keys()
    dashboard = json.loads((REPOSITORY / "packaging/grafana/cni-vlan.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for query in queries for name in re.findall(rf"{PREFIX}(\w+)", query)}
    assert shown == HELP.keys() - {"build_info"}  # by which it finds the nodes
    [names] = [one["query"]["query"] for one in dashboard["templating"]["list"] if one["name"] == "instance"]
    assert names == f"label_values({PREFIX}build_info, instance)"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_timer_writes_where_the_page_says() -> None:
    unit = (REPOSITORY / "packaging/systemd/cni-metrics.service").read_text()
    [written] = re.findall(r"^ExecStart=/opt/cni/bin/cni-macvlan-py metrics --output (\S+)$", unit, re.MULTILINE)
    page = (REPOSITORY / "docs/watching.md").read_text()
    assert f"metrics --output {written}\n" in page
    assert f"--collector.textfile.directory={Path(written).parent}`" in page
