"""The network of a cluster that a user describes, for the time that a shuffle would take on it."""

from dataclasses import dataclass

_RATES = {"Gbps": 1e9, "Mbps": 1e6, "Tbps": 1e12}


@dataclass(frozen=True)
class Cluster:
    """Machines of equal network cards behind a fabric of a given bisection.

    Raises:
      ValueError: nodes below 1, a rate that isn't positive, or a bisection outside 0..1.
    """

    nodes: int
    nic_bits: float
    """Bits a second that a node sends and receives."""
    bisection: float = 1.0
    """Share of all network cards' rate that the fabric carries at once; 1.0 is a fabric that blocks nothing."""

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.nic_bits <= 0 or not 0 < self.bisection <= 1:
            raise ValueError(
                f"a cluster has nodes >= 1, nic > 0 and 0 < bisection <= 1, "
                f"got nodes={self.nodes}, nic={self.nic_bits:g} bit/s, bisection={self.bisection}"
            )

    def seconds(self, shuffled: float) -> float:
        """Time on the network of a shuffle of so many bytes: of N equal parts one stays at home.

        bytes x (N-1)/N over N x nic x bisection. 10 TB on 100 nodes of 25 Gb/s are 32 s at full bisection.
        """
        return shuffled * (self.nodes - 1) / self.nodes / (self.nodes * self.nic_bits / 8 * self.bisection)

    def assumption(self) -> str:
        """What the figure takes for granted, for people."""
        return (
            f"network time assumes {self.nodes} nodes with {self.nic_bits / 1e9:g} Gb/s each at a bisection of "
            f"{self.bisection:g}, all sending at once and nothing else: disks, encoding and skew come on top. The rule "
            f"of thumb of 30 minutes for 10 TB on 100 such nodes amounts to a bisection of some 0.02."
        )


def parse_cluster(text: str) -> Cluster:
    """`nodes=100,nic=25Gbps,bisection=1.0` to a Cluster; bisection may be left out.

    Raises:
      ValueError: anything else. The message shows what was given and the form.
    """
    try:
        given = dict(part.split("=", 1) for part in text.split(","))
        rate = next(unit for unit in _RATES if given["nic"].endswith(unit))
        bits = float(given.pop("nic").removesuffix(rate)) * _RATES[rate]
        nodes, bisection = int(given.pop("nodes")), float(given.pop("bisection", 1.0))
        if given:
            raise KeyError(next(iter(given)))
    except (KeyError, ValueError, StopIteration):
        raise ValueError(f"{text!r} is no cluster: write nodes=100,nic=25Gbps,bisection=1.0") from None
    return Cluster(nodes, bits, bisection)
