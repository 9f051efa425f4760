"""The ipvlan plugin: what of it is not macvlan's too."""
