"""packaging/kubernetes: what kubectl makes of it, by Kubernetes' own schemas, and our `validate` for the networks."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cni_cli.conflists import OURS
from cni_cli.install import ALIASES
from cni_cli.validate import findings
from cni_core import __version__

REPOSITORY = Path(__file__).parents[2]
MANIFESTS = REPOSITORY / "packaging" / "kubernetes"
KUBECTL = Path(sys.executable).parent / "kubectl"
KUSTOMIZATIONS = sorted(path.parent.name for path in MANIFESTS.glob("*/kustomization.yaml"))
INSTALLERS = [name for name in KUSTOMIZATIONS if name != "networks"]
# The oldest that distributions still maintain, or nearly, and the newest that the validator knows.
VERSIONS = ("1.28", kubernetes_validate.latest_version())
NETWORK = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition")


def rendered(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([KUBECTL, "kustomize", MANIFESTS / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # a warning, of an older form, is a failure too
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kinds(documents: list[dict[str, Any]]) -> list[str]:
    return sorted(document["kind"] for document in documents)


def daemon_set(name: str) -> dict[str, Any]:
    [found] = [document for document in rendered(name) if document["kind"] == "DaemonSet"]
    return found


def pod_of(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = daemon_set(name)["spec"]["template"]["spec"]
    return spec


def container_of(name: str) -> dict[str, Any]:
    [container] = pod_of(name)["containers"]
    return dict(container)


def test_no_file_is_left_out() -> None:
    used = {"Containerfile"}
    for name in KUSTOMIZATIONS:
        directory = MANIFESTS / name
        resources = yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]
        used |= {f"{name}/{file}" for file in (*resources, "kustomization.yaml")}
    assert {str(path.relative_to(MANIFESTS)) for path in MANIFESTS.rglob("*") if path.is_file()} <= used


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", INSTALLERS)
def test_kubernetes_schemas_accept_what_is_installed(name: str, version: str) -> None:
    documents = rendered(name)
    assert (
        kinds(documents)
        == {
            "install": ["DaemonSet"],
            "k3s": ["DaemonSet"],
            "openshift": ["DaemonSet", "Role", "RoleBinding", "ServiceAccount"],
        }[name]
    )
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("readOnlyRootFilesystem",), "yes"),
        (("readOnlyRootFileSystem",), True),  # as it is not spelt
        (("capabilities", "drop"), "ALL"),
    ],
)
def test_the_validator_tells_what_is_wrong(path: tuple[str, ...], value: Any) -> None:
    document = deepcopy(daemon_set("install"))
    place = document["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", INSTALLERS)
def test_the_installer_may_do_no_more_than_it_must(name: str) -> None:
    pod, container = pod_of(name), container_of(name)
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostIPC", "initContainers"} & set(pod)
    context = container["securityContext"]
    assert context.pop("seLinuxOptions", None) == ({"type": "spc_t"} if name == "openshift" else None)
    assert context == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [volume], [mount] = pod["volumes"], container["volumeMounts"]  # and nothing else of the node's
    assert (volume["name"], mount["mountPath"]) == (mount["name"], "/host/cni/bin")


@pytest.mark.parametrize(
    ("name", "path"),
    [("install", "/opt/cni/bin"), ("k3s", "/var/lib/rancher/k3s/data/cni"), ("openshift", "/var/lib/cni/bin")],
)
def test_where_it_installs(name: str, path: str) -> None:
    [volume] = pod_of(name)["volumes"]
    assert volume["hostPath"] == {"path": path, "type": "DirectoryOrCreate"}


@pytest.mark.parametrize("name", INSTALLERS)
def test_it_comes_to_every_node_one_after_the_other_and_leaves_the_plugins(name: str) -> None:
    document, pod, container = daemon_set(name), pod_of(name), container_of(name)
    assert document["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["hostNetwork"]  # the network may be what it brings
    assert "lifecycle" not in container  # no hook takes anything away
    assert container["image"] == f"registry.example/cni-py:{__version__}"


@pytest.mark.parametrize("name", INSTALLERS)
def test_its_probes_check_what_it_installs(name: str) -> None:
    container = container_of(name)
    args = container["args"]
    assert args[:2] == ["install", "--stay"]
    directory = args[args.index("--bin-dir") : args.index("--bin-dir") + 2]
    names = [option for option in ("--replace", "--aliases") if option in args]
    for probe in ("readinessProbe", "livenessProbe"):
        command = ["/cni-py/cni-macvlan-py", "install", "--check", *directory, *names]
        assert container[probe]["exec"]["command"] == command


def networks() -> list[dict[str, Any]]:
    return rendered("networks")


def test_the_networks_are_definitions() -> None:
    documents = networks()
    assert len(documents) == 5
    for document in documents:
        assert (document["apiVersion"], document["kind"]) == NETWORK
        assert set(document["spec"]) == {"config"}
        # Its metadata is as of any object.
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]}
        kubernetes_validate.validate(config_map, VERSIONS[-1], strict=True)


def test_the_networks_are_valid_and_name_our_plugin() -> None:
    for document in networks():
        config = document["spec"]["config"]
        assert findings(config.encode()) == [], document["metadata"]["name"]
        assert json.loads(config)["type"] in OURS.values()
        assert json.loads(config)["type"] not in ALIASES


def test_no_network_of_several_nodes_has_leases_of_one() -> None:
    """host-local alone gives the same address on each node. l3 is of one node, by its name."""
    for document in networks():
        config = json.loads(document["spec"]["config"])
        assert config["ipam"]["type"] != "host-local" or document["metadata"]["name"] == "l3-node1"


def test_the_networks_show_what_they_are_for() -> None:
    shown = {document["metadata"]["name"]: json.loads(document["spec"]["config"]) for document in networks()}
    assert shown["trunk"]["vlan"] == 50
    assert shown["l3-node1"]["mode"] == "l3"
    assert len(shown["dual-stack"]["ipam"]["ranges"]) == 2
    assert shown["lan"]["ipam"]["type"] == "lan-local"
    assert (shown["host-access"]["hostAccess"], shown["host-access"]["conflict"]) == (True, "probe")
