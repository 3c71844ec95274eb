"""Moves the pair's address in AWS to the node that holds it by VRRP's word, and sees that it stays there.

What decides who is active is elsewhere (arbiter, lease); nothing here grants or takes the role. Rooms: `settings` reads
what hotpair wrote, `request` is one HTTP request, `metadata` what the instance knows of itself, `sign` signs, `calls`
calls AWS, `move` is the four ways to move an address, `keep` the loop, `verbs` what a unit and an operator call.
Python 3.9 or newer, standard library only: AWS's own command line would be one more package on every node, and would
have to be started at each failover.
"""
