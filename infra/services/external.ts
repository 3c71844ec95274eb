// A service on the nodes that hotpair does not manage: HAProxy sends it traffic and checks it, `status` looks at its
// units, and nothing here ever starts, stops or configures it.

import { ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import type { Pair } from "../model/pair.ts";
import type { Contribution, Listener, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { behindHaproxy } from "./haproxy.ts";

export const external: Service = { name: "external", plan, timing, findings, listeners };

/** Nothing on purpose, also no health check: a change of ours is not rolled back because somebody else's service is down. */
function plan(): Contribution | undefined {
  return undefined;
}

function timing(pair: Pair): readonly TimingTerm[] {
  if (pair.external === undefined) return [];
  return [
    {
      service: "external",
      failure: "backend-kill",
      step: "recover",
      name: `${pair.external.name} is brought back by its owner while the other node serves`,
      lower: ms(0),
      upper: ms(0),
      formula: "0 (off the clients' path)",
      source: "docs/failures/backend-kill.md",
    },
  ];
}

function listeners(pair: Pair): readonly Listener[] {
  return pair.external === undefined ? [] : [behindHaproxy(pair, pair.external.name, pair.external.port)];
}

function findings(pair: Pair): readonly Finding[] {
  const { external: service, haproxy } = pair;
  if (service === undefined) return [];
  const reached = haproxy?.backends.some((backend) => backend.servers.some((server) => server.port === service.port));
  if (reached === true) return [];
  return [
    {
      rule: "external-reached",
      level: "advisory",
      path: "hotpair:pair.external.port",
      message: `no backend of HAProxy sends traffic to ${service.name} on port ${service.port}`,
      fix: `add a backend with servers at port ${service.port}, or remove hotpair:pair.external`,
    },
  ];
}
