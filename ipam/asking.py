"""What lan-local does with its cluster, where a call needs more, or less, than the node holds: of the full program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from cni_core.address import Address
from cni_core.errors import COMMAND_REFUSED, CniError
from cni_core.request import Request
from ipam import last_contact
from ipam.claims import MOST_AHEAD, Member, Need, Outcome
from ipam.cluster import Cluster
from ipam.contact import NetworkFiles, run
from ipam.etcd import Etcd, weakness
from ipam.host_local import Leasing, data_dir_of, store_of
from ipam.lan_local import cluster_of, pools_of
from ipam.pool import Pool
from ipam.ranges import RangeSet, range_sets

# Who takes back does not wait again for an engine that was away so many seconds ago.
_PATIENCE = 10.0


class Asking:
    """A network of this node in contact with its cluster: for who has the node's lock."""

    def __init__(self, cluster: Cluster, etcd: Etcd, request: Request) -> None:
        self._etcd = etcd
        self._request = request
        data_dir = data_dir_of(request)
        self.files = NetworkFiles(data_dir, request.name)
        most_ahead = request.ipam.get("ahead", MOST_AHEAD)
        self._member = Member(cluster.domain, cluster.node(), request.name, data_dir, Random(), most_ahead)

    def leases(self) -> dict[Address, bool]:
        """The addresses that are in use, and whether it is a container's lease that says so."""
        with store_of(self._request) as store:
            return {address: store.holder(address) is not None for address in store.in_use()}

    def adopt(self) -> None:
        """Claims what has leases that were given without the cluster, as by host-local before.

        CniError COMMAND_REFUSED naming every address that another has.
        """
        held = self.files.held()
        strays = [one for one, is_lease in self.leases().items() if is_lease and not (held and one in held.claims)]
        if strays:
            run(self._member.adopt(held, strays), self._etcd, self.files)

    def acquire(self, needs: Sequence[Need], refused: Mapping[Address, str]) -> Outcome:
        taken = self.leases().keys() | refused.keys()
        return run(self._member.acquire(self.files.held(), needs, taken), self._etcd, self.files)

    def prefer(
        self, pools: Sequence[Pool], wishes: Sequence[Sequence[Address]], refused: Mapping[Address, str]
    ) -> set[int]:
        """The numbers of the wishes of which an address can be given now; none where the cluster cannot be asked."""
        taken = self.leases().keys() | refused.keys()
        try:
            held = run(self._member.prefer(self.files.held(), pools, wishes, taken), self._etcd, self.files).held
        except CniError:
            return set()
        return {i for i, wish in enumerate(wishes) if any(one in held.claims and one not in taken for one in wish)}

    def keeps(self, index: int) -> bool:
        """Whether the node is to hold free addresses of range set number index."""
        held = self.files.held()
        return bool(held and any(held.ahead[index : index + 1]))

    def tidy(self, pools: Sequence[Pool], *, everywhere: bool = False, all_known: bool = False) -> Outcome:
        held, taken = self.files.held(), self.files.taken()
        operation = self._member.tidy(held, pools, taken, everywhere=everywhere, all_known=all_known)
        return run(operation, self._etcd, self.files)

    def leave(self) -> None:
        """CniError COMMAND_REFUSED where containers remain."""
        held = self.files.held()
        if held:
            run(self._member.leave(held), self._etcd, self.files)


def acquire(leasing: Leasing, wishes: Sequence[Sequence[Address]]) -> None:
    """Has this node hold what the attachment needs of each set; if it can be had, one of its wishes there. CniError."""
    request, sets = leasing.request, leasing.sets
    cluster = Cluster.read(cluster_of(request))
    with cluster.contact() as etcd:
        asking = Asking(cluster, etcd, request)
        with store_of(request) as store:
            own = store.held_by(request.attachment)
        try:
            asking.adopt()
        except CniError as error:
            # Their containers run: STATUS tells of them, and nothing that is claimed now makes it worse.
            if error.code != COMMAND_REFUSED:
                raise
        held = asking.files.held()
        mine = [one for one in own if held and one in held.claims]
        pools = pools_of(sets)
        granted = asking.prefer(pools, wishes, leasing.refused) if any(wishes) else set[int]()
        needs = [
            Need(
                pool,
                address,
                # Who is granted a wish needs no other, but the node keeps some for when the cluster is away.
                is_wanted=not any(part.range_of(one) and address in (None, one) for one in mine)
                and (i not in granted or asking.keeps(i)),
            )
            for i, (part, pool, address) in enumerate(zip(sets, pools, leasing.asked, strict=True))
        ]
        try:
            asking.acquire(needs, leasing.refused)
        except CniError:
            if any(need.is_wanted and i not in granted for i, need in enumerate(needs)):
                raise


def give_back(request: Request, *, all_known: bool = False) -> None:
    """Whatever comes of it: what is not given back now is with the next contact."""
    try:
        cluster = Cluster.read(cluster_of(request))
        last = cluster.last()
        if last and last.why and last.age < _PATIENCE:
            return
        with cluster.contact() as etcd:
            pools = pools_of(range_sets(request))
            Asking(cluster, etcd, request).tidy(pools, everywhere=all_known, all_known=all_known)
    except CniError:
        pass


def look(request: Request, sets: list[RangeSet]) -> str:
    """Verifies what this node holds, and gives back; why the cluster would give it no address, empty where it would."""
    name = cluster_of(request)
    try:
        why = _look(Cluster.read(name), request, sets)
    except CniError as error:
        why = error.msg
    last_contact.write(name, f"status.{request.name}", why)
    return why


def _look(cluster: Cluster, request: Request, sets: list[RangeSet]) -> str:
    with cluster.contact() as etcd:
        weak = weakness(etcd.version())
        if weak:
            return weak
        asking = Asking(cluster, etcd, request)
        asking.adopt()
        pools = pools_of(sets)
        outcome = asking.tidy(pools)
    for pool, unclaimed in zip(pools, outcome.unclaimed, strict=True):
        if unclaimed <= 0:
            return f"every address of {pool} is claimed"
    return ""
