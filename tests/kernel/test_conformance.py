"""The conformance suite can fail: each way of being wrong is caught by the case that is about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.suite.case import CASES, Case
from conformance.suite.cases import load
from conformance.suite.run import FAILED, PASSED, judge
from conformance.suite.world import Subject
from tests.kernel import broken
from tests.kernel.plugin import OURS

CAUGHT = {
    "drops_a_route": "results/the_routes[macvlan]",
    "leaves_the_link_down": "macvlan/a_bare_link",
    "loses_an_address": "results/the_addresses[ipvlan]",
    "ignores_mode": "macvlan/mode[private]",
    "ignores_mtu": "ipvlan/mtu",
    "ignores_mac": "macvlan/mac_of_the_configuration",
    "ignores_master": "macvlan/parent",
    "ignores_runtimeConfig": "requested/by_the_runtime[10.1.0.77]",
    "ignores_vlan": "trunk/made_and_removed[macvlan]",
    "ignores_flag": "ipvlan/flag[private]",
    "ignores_range_end": "ranges/start_and_end",
    "keeps_no_lease": "host_local/the_lease_file",
    "writes_leases_of_another_form": "host_local/the_lease_file",
    "tells_a_wrong_mac": "results/the_mac[macvlan]",
    "tells_a_wrong_sandbox": "results/the_interface[ipvlan]",
    "tells_a_wrong_index": "results/the_index[macvlan]",
    "tells_one_version": "results/form[macvlan,0.3.1]",
    "tells_more_than_the_version_has": "results/form[ipvlan,1.0.0]",
    "tells_no_gateway": "host_local/the_gateway_by_default",
    "tells_no_dns": "results/the_dns[macvlan]",
    "prints_noise": "results/form[macvlan,1.0.0]",
    "prints_on_del": "protocol/stdout_is_the_result[macvlan]",
    "succeeds_with_an_error": "protocol/an_error_and_nothing_else[macvlan]",
    "fails_in_silence": "macvlan/an_unknown_mode",
    "has_one_code_for_all": "protocol/unsupported_version[host-local]",
    "errors_without_version": "protocol/an_error_names_its_version[macvlan]",
    "crashes_on_bad_input": "protocol/wrong_types[ipvlan]",
    "hides_a_version": "protocol/supports[macvlan,0.3.1]",
    "keeps_the_lease": "delete/everything[macvlan]",
    "keeps_the_link": "delete/everything[ipvlan]",
    "releases_every_lease": "delete/nothing_but_its_own[macvlan]",
    "deletes_only_once": "delete/twice[host-local]",
    "needs_a_previous_result_for_del": "delete/without_a_previous_result[macvlan]",
    "finds_nothing_wrong": "check/a_change[macvlan,an address is gone]",
    "mends_on_check": "check/it_changes_nothing[ipvlan]",
    "finds_fault": "results/check[macvlan,1.0.0]",
    "collects_nothing": "collect/what_nobody_owns[host-local]",
    "collects_all_without_a_list": "collect/no_list[host-local,absent]",
    "is_always_ready": "collect/without_an_address[macvlan]",
}

load()
BY_NAME: dict[str, Case] = {case.name: case for case in CASES}


def test_every_defect_is_tried() -> None:
    assert set(CAUGHT) == set(broken.DEFECTS) - {"none"}


@pytest.mark.parametrize("defect", CAUGHT)
def test_a_broken_plugin_is_caught_by_the_case_that_should(defect: str, tmp_path: Path) -> None:
    case = BY_NAME[CAUGHT[defect]]
    for which, outcome in (("none", PASSED), (defect, FAILED)):
        verdict = judge(case, Subject(str(broken.directory(tmp_path / which, which, OURS))))
        assert verdict.outcome == outcome, verdict.reason
