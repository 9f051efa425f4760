"""The ipvlan plugin: not offered yet."""
