// The rules of hotpair-drbd, its fence-peer handler, promotion and first set-up, tested where they are written: in Python,
// against a model of two nodes, an authority that is made there, and disks that are files. HOTPAIR_SCHEDULES=5000 runs that
// many random schedules.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-drbd", "drbd_tests", 120_000);
