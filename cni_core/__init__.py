"""What the macvlan and ipvlan plugins share: one CNI call, from the environment and stdin to a result or an error."""

__version__ = "0.2.0"
