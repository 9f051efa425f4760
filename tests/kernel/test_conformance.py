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
    "leaves_the_link_down": "links/a_bare_link[macvlan]",
    "loses_an_address": "results/the_addresses[ipvlan]",
    "ignores_mode": "macvlan/mode[private]",
    "ignores_mtu": "links/mtu[ipvlan]",
    "ignores_mac": "macvlan/mac_of_the_configuration",
    "ignores_master": "links/parent[macvlan]",
    "ignores_runtimeConfig": "requested/by_the_runtime[10.1.0.77]",
    "ignores_vlan": "trunk/made_and_removed[macvlan]",
    "ignores_flag": "ipvlan/flag[private]",
    "ignores_range_end": "ranges/start_and_end",
    "keeps_no_lease": "host_local/the_lease_file",
    "writes_leases_of_another_form": "host_local/the_lease_file",
    "adds_a_default_route": "routes/none_is_asked_for[macvlan]",
    "sets_one_next_hop": "routes/two_gateways_of_a_destination[ipvlan]",
    "forgets_the_last_address": "host_local/on_to_the_next_range[1,2]",
    "takes_others_leases": "host_local/whose_turn_it_is[10.1.0.6,10.1.0.5,10.1.0.2]",
    "has_a_lock_of_its_own": "host_local/it_waits_for_the_lock",
    "leaves_an_empty_lease": "host_local/a_full_disk",
    "keeps_variables_from_its_ipam": "delegation/what_it_is_told[macvlan,DEL]",
    "shortens_the_configuration_of_its_ipam": "delegation/what_it_is_told[ipvlan,ADD]",
    "swallows_errors": "delegation/its_error[ipvlan,CHECK]",
    "tells_a_wrong_mac": "results/the_mac[macvlan]",
    "tells_a_wrong_sandbox": "results/the_interface[ipvlan]",
    "tells_a_wrong_index": "results/the_index[macvlan]",
    "tells_one_version": "results/form[macvlan,0.3.1]",
    "tells_more_than_the_version_has": "results/form[ipvlan,1.0.0]",
    "tells_no_gateway": "host_local/the_gateway_by_default[10.1.0.0/24,10.1.0.1,10.1.0.2/24]",
    "tells_no_dns": "results/the_dns[macvlan]",
    "prints_noise": "results/form[macvlan,1.0.0]",
    "prints_on_del": "protocol/stdout_is_the_result[macvlan]",
    "succeeds_with_an_error": "protocol/an_error_and_nothing_else[macvlan]",
    "fails_in_silence": "links/an_unknown_mode[macvlan]",
    "has_one_code_for_all": "protocol/unsupported_version[host-local]",
    "errors_without_version": "protocol/an_error_names_its_version[macvlan,1.0.0]",
    "crashes_on_bad_input": "protocol/wrong_types[ipvlan]",
    "hides_a_version": "protocol/supports[macvlan,0.3.1]",
    "keeps_the_lease": "delete/everything[macvlan]",
    "keeps_the_link": "delete/everything[ipvlan]",
    "releases_every_lease": "delete/nothing_but_its_own[macvlan]",
    "deletes_only_once": "delete/twice[host-local]",
    "needs_a_previous_result_for_del": "delete/without_a_previous_result[macvlan]",
    "finds_nothing_wrong": "check/a_change[macvlan,an address is gone]",
    "sees_no_ipv6": "check/a_change_of_ipv6[macvlan,an address is gone]",
    "mends_on_check": "check/it_changes_nothing[ipvlan]",
    "finds_fault": "results/check[macvlan,1.0.0]",
    "collects_nothing": "collect/what_nobody_owns[host-local]",
    "collects_only_once": "collect/twice[host-local]",
    "collects_by_one_key": "collect/by_the_older_key[macvlan]",
    "removes_the_parent": "delete/the_hosts_own_namespace[ipvlan]",
    "keeps_the_sub_interface": "trunk/two_networks_share_it[macvlan]",
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
