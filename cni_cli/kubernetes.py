"""What `doctor` and `network create` know of a node that runs pods: its runtimes, other people's plugins under our
names, and the cluster's own network beside ours."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cni_cli.checks import FAILURE, OK, WARNING, Check
from cni_cli.conflists import DIRECTORY, OURS, Network, types_in
from cni_cli.install import PROGRAMS
from cni_cli.runtimes import Runtime, Unreadable, directory_for, runtimes
from cni_cli.validate import keys_of_ours

KUBELET = "/var/lib/kubelet"  # where there is one, its calls fail; elsewhere nobody may ask the runtime for pods
# Plugins that make a cluster's network, each by the name that its DaemonSet writes into its conflist.
CLUSTERS = {"antrea", "aws-cni", "azure-vnet", "calico", "cilium-cni", "flannel", "kube-ovn", "kube-router"}
CLUSTERS |= {"ovn-k8s-cni-overlay", "weave-net"}
MULTUS = {"multus", "multus-shim"}


def of_runtimes(networks: list[Network], directory: str, root: str = "") -> Iterator[Check]:
    """Whether each runtime of the node finds our plugins, and networks in `directory`, which the doctor looks at."""
    level = FAILURE if os.path.isdir(root + KUBELET) else WARNING
    for runtime in runtimes(root):
        if isinstance(runtime, Unreadable):
            yield Check(WARNING, f"{runtime.name}: {runtime.file}: {runtime.why}", "See to that file.")
        elif runtime.conf_dir == os.path.normpath(directory):
            yield from _finds_plugins(runtime, networks, level, root)
        elif directory == DIRECTORY:
            where = f"--dir {runtime.conf_dir} --bin-dir {directory_for(runtime, root)}"
            yield Check(WARNING, f"{runtime.name} has its networks in {runtime.conf_dir}", f"Ask also: doctor {where}")


def _finds_plugins(runtime: Runtime, networks: list[Network], level: str, root: str) -> Iterator[Check]:
    looks = f"{runtime.name} looks for plugins in {', '.join(runtime.bin_dirs)}"
    install = f"install --bin-dir {directory_for(runtime, root)}"
    missing = {network.config["type"]: network.name for network in networks}
    missing = {kind: name for kind, name in missing.items() if not runtime.program(kind, root)}
    for kind, name in missing.items():
        mend = f"{OURS[kind]} {install}{'' if kind in PROGRAMS else ' --aliases'}"
        yield Check(level, f"{looks}, and finds no {kind}, which network {name} is of", mend)
    if not any(runtime.program(program, root) for program in PROGRAMS):
        if not missing:
            yield Check(WARNING, f"{looks}, where none is ours", f"{PROGRAMS[0]} {install}")
    elif not missing:
        yield Check(OK, f"{looks}, and has ours")


def of_others(networks: list[Network], bin_directory: str, directory: str, root: str = "") -> Iterator[Check]:
    """Networks that say what our plugins alone do, and name one that is somebody else's: it fails, or, worse, attaches
    to another link than was asked for (a VLAN's parent)."""
    places = [("", FAILURE, Runtime("", "", (bin_directory,), directory))]
    level = FAILURE if os.path.isdir(root + KUBELET) else WARNING
    for runtime in runtimes(root):
        if isinstance(runtime, Runtime) and runtime.conf_dir == os.path.normpath(directory):
            places.append((f"{runtime.name}: ", level, runtime))
    told = set[str]()
    for who, grade, place in places:
        for network in networks:
            program, keys = place.program(network.config["type"], root), keys_of_ours(network.config)
            if program and keys and os.path.basename(os.path.realpath(program)) not in PROGRAMS and program not in told:
                told.add(f"{program}")
                yield Check(
                    grade,
                    f"{who}network {network.name}: {program} is another plugin, and knows nothing of {', '.join(keys)}",
                    f'Name ours in {network.file}: "type": "{OURS[network.config["type"]]}"; or install --replace',
                )


def beside_clusters(networks: list[Network], directory: str) -> Iterator[Check]:
    """Networks in the directory in which a cluster has its own: a runtime of pods takes the first file alone."""
    for network in networks:
        for what, mend in remarks(network.file.name, network.name, directory):
            yield Check(WARNING, f"network {network.name}: {what}", mend)


def remarks(file: str, name: str, directory: str) -> Iterator[tuple[str, str]]:
    """What is wrong, and what to do, with a network in that file beside what is there already."""
    clusters = {other: kinds for other, kinds in types_in(directory) if kinds & (CLUSTERS | MULTUS) and other != file}
    if not clusters:
        return
    first, kinds = next(iter(clusters.items()))
    known = f"{first} ({', '.join(sorted(kinds & (CLUSTERS | MULTUS)))})"
    if file < first:
        yield (
            f"its file stands before the cluster's {known}: new pods get this network instead of the cluster's",
            "Keep it elsewhere, and have Multus attach it beside the cluster's (docs/kubernetes.md).",
        )
    elif not any(found & MULTUS for found in clusters.values()):
        yield (
            f"pods have the cluster's {known} alone, the first file of {directory}; this one is nobody's",
            f"Have Multus attach it beside the cluster's (docs/kubernetes.md); nerdctl and podman do use {name}.",
        )
