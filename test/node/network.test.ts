// What hotpair-network decides on a server, tested where it is written: in Python, on servers of the tests' own. What
// systemd-networkd and a kernel make of it is in test/services/network.lab.test.ts.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-network", "network_tests", 60_000);
