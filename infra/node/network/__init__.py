"""hotpair-network: networks of a node that hotpair sets up for systemd-networkd (docs/network.md).

Rooms: `settings` reads what hotpair wrote, `host` is the server as it is, `owner` says whether hotpair may, `change` is
one change and its way back, `reach` says who is still reached, `verbs` what hotpair-apply, systemd and a person call.
Python 3.9 or newer, standard library only.
"""
