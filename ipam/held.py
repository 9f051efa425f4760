"""The addresses that this node holds for a network, and may give to containers without asking anybody.

DATADIR/.cluster/NETWORK/held has some lines of the form KEY VALUE…, and ADDRESS@REVISION for each address: the engine's
record of that revision says that the address is this node's (ipam.claims). It is replaced whole, and lasts when that
returns. Only who has the node's lock (rule R6 there) writes it. An address is taken out of it under the lock of the
leases, too, so that who has that lock, as each ADD has, may trust what it reads (R4).
"""

from __future__ import annotations

from cni_core.address import Address
from cni_core.files import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from ipam.pool import Pool

_DIRECTORY = ".cluster"
_FILE = "held"


class Held:
    """What the file says; never changed, but replaced by another (`but`).

    state: a random name for this file, by which the engine's records tell it from one that was lost.
    registration: the node's random name in the cluster, as of the last contact; empty before the first.
    boot: the boot id in which addresses may be given; empty where they must be verified first.
    is_verified: False where boot came without the engine being asked (`offlineBoot`): to be done at the next contact.
    wary: a boot id in which claims of a lost state may still be in use by containers; empty for none.
    ahead: for each range set, how many free addresses to keep.
    seen: the highest revision of the engine that was seen.
    claims: the revision of each address; fixed: those claimed because somebody asked for them, not to be chosen.
    """

    __slots__ = ("ahead", "boot", "claims", "fixed", "is_verified", "registration", "seen", "state", "wary")

    def __init__(
        self,
        state: str,
        *,
        registration: str = "",
        boot: str = "",
        is_verified: bool = True,
        wary: str = "",
        ahead: Iterable[int] = (),
        seen: int = 0,
        claims: Mapping[Address, int] | None = None,
        fixed: Iterable[Address] = (),
    ) -> None:
        self.state = state
        self.registration = registration
        self.boot = boot
        self.is_verified = is_verified
        self.wary = wary
        self.ahead = tuple(ahead)
        self.seen = seen
        self.claims = dict(claims or {})
        self.fixed = frozenset(fixed) & self.claims.keys()

    def but(
        self,
        *,
        registration: str | None = None,
        boot: str | None = None,
        is_verified: bool | None = None,
        wary: str | None = None,
        ahead: Iterable[int] | None = None,
        seen: int | None = None,
        claims: Mapping[Address, int] | None = None,
        fixed: Iterable[Address] | None = None,
    ) -> Held:
        """The same with some values changed."""
        return Held(
            self.state,
            registration=self.registration if registration is None else registration,
            boot=self.boot if boot is None else boot,
            is_verified=self.is_verified if is_verified is None else is_verified,
            wary=self.wary if wary is None else wary,
            ahead=self.ahead if ahead is None else ahead,
            seen=self.seen if seen is None else seen,
            claims=self.claims if claims is None else claims,
            fixed=self.fixed if fixed is None else fixed,
        )

    def without(self, addresses: Iterable[Address]) -> Held:
        gone = set(addresses)
        return self.but(claims={address: revision for address, revision in self.claims.items() if address not in gone})

    def free(self, pool: Pool, taken: Container[Address]) -> list[Address]:
        """Those of a pool that may be chosen: without a lease (taken), and not claimed for who asks for them."""
        return [
            address for address in self.claims if address not in taken and address in pool and address not in self.fixed
        ]

    def surplus(self, pools: Sequence[Pool], taken: Container[Address]) -> list[Address]:
        """The addresses to give back: of each pool what is free beyond `ahead`, where that is more than as much again.

        Also those asked for by a container that is gone, and those of no pool any more. None where there is no need of
        a contact.
        """
        back = [address for address in self.fixed if address not in taken]
        rest = [address for address in self.claims if address not in taken and address not in self.fixed]
        for i, pool in enumerate(pools):
            free = [address for address in rest if address in pool]
            rest = [address for address in rest if address not in pool]
            ahead = self.ahead[i] if i < len(self.ahead) else 0
            if len(free) > 2 * ahead:
                back += free[ahead:]
        return back + rest

    def __str__(self) -> str:
        """The content of the file."""
        lines = [f"{'boot' if self.is_verified else 'offline'} {self.boot}", f"state {self.state}"]
        lines += [f"registration {self.registration}", f"wary {self.wary}"]
        lines += [" ".join(["ahead", *map(str, self.ahead)]), f"seen {self.seen}"]
        ordered = sorted(self.claims, key=lambda address: (address.family, address.value))
        lines += [f"{one}@{self.claims[one]}{' fixed' if one in self.fixed else ''}" for one in ordered]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Held:
        """ValueError where it is anything else than what str gives."""
        head: dict[str, str] = {}
        claims: dict[Address, int] = {}
        fixed: list[Address] = []
        for line in text.removesuffix("\n").split("\n"):
            if "@" not in line:
                key, _, head[key] = line.partition(" ")
                continue
            name, _, rest = line.partition("@")
            revision, _, how = rest.partition(" ")
            address = Address.parse(name)
            claims[address] = int(revision)
            if how:
                fixed.append(address)
        try:
            return cls(
                head["state"],
                registration=head["registration"],
                boot=head.get("boot", head.get("offline", "")),
                is_verified="boot" in head,
                wary=head["wary"],
                ahead=map(int, head["ahead"].split()),
                seen=int(head["seen"]),
                claims=claims,
                fixed=fixed,
            )
        except KeyError as error:
            raise ValueError(f"it has no line {error}") from None


class HeldFile:
    """The file of one network, open until the end of a with block. CniError where the directory cannot be used."""

    def __init__(self, data_dir: str, network: str, *, create: bool = True) -> None:
        """Without create, a directory that is not there is FileNotFoundError: nothing is held."""
        with Directory(f"{data_dir}/{_DIRECTORY}", create=create) as above:
            self._files = Directory(network, create=create, above=above)

    def __enter__(self) -> HeldFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def read(self) -> Held | None:
        """None where there is none, or what is there says nothing: its state is lost."""
        text = self._files.read(_FILE)
        try:
            return None if text is None else Held.parse(text)
        except ValueError:
            return None

    def write(self, held: Held) -> None:
        """Lasts when it returns."""
        self._files.replace(_FILE, str(held))
