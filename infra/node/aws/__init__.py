"""Calls AWS by the role of the instance that this runs on; what for is others' business (address, fence).

Rooms: `access` says where AWS is, `request` is one HTTP request, `metadata` what the instance knows of itself, `sign`
signs, `calls` calls. Python 3.9 or newer, standard library only: AWS's own command line would be one more package on
every node, and would have to be started at each failover.
"""
