"""hotpair-fence: switches the other node off where time alone does not prove that it stopped (docs/fencing.md).

Only the holder of the lease shoots; an operator who attests that the peer is down may, too. Rooms: `settings` reads
what hotpair wrote, `agent` runs a fence agent, `right` says whether this node may shoot and whether it has to, `record`
is what is remembered, `shoot` is the act, `lab` an agent for machines of the lab, `instance` one for
servers in AWS, `verbs` what an operator and a unit call. Python 3.9 or newer, standard library only.
"""
