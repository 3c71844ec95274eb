// All that hotpair knows of nginx as the service behind HAProxy: one server on the node's own address, a health endpoint,
// and how systemd keeps it alive.

import { formatDuration, ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import type { NodeId, Pair } from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { behindHaproxy } from "./haproxy.ts";
import { render } from "./template.ts";

export const nginx: Service = { name: "nginx", plan, timing, findings, listeners };

/** Wait of systemd before it starts a dead nginx again: its own default (systemd.service(5), RestartSec). */
const RESTART_DELAY = ms(100);
/** The document root that hotpair fills itself; any other belongs to its owner. */
export const MANAGED_ROOT = "/var/lib/hotpair/www";

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { nginx: settings } = pair;
  if (settings === undefined) return undefined;
  const node = pair.nodes[id === "a" ? 0 : 1];
  const names = { pair: pair.name, node: node.name };
  const address = node.networks.public.address.split("/")[0] ?? "";
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const reload = { action: "reload", unit: "nginx.service" } as const;
  const page: PlannedFile = {
    ...root,
    path: `${MANAGED_ROOT}/index.html`,
    content: render("nginx/index.html.hbs", names),
    onChange: { action: "none" },
  };
  return {
    packages: ["nginx", "python3"],
    files: [
      { ...root, path: "/etc/nginx/nginx.conf", content: render("nginx/nginx.conf.hbs", names), onChange: reload },
      {
        ...root,
        path: "/etc/nginx/conf.d/hotpair.conf",
        content: render("nginx/hotpair.conf.hbs", {
          ...names,
          address,
          port: settings.port,
          healthPath: settings.healthPath,
          root: settings.root,
        }),
        onChange: reload,
      },
      {
        ...root,
        path: "/etc/systemd/system/nginx.service.d/60-hotpair.conf",
        content: render("nginx/service.conf.hbs", { ...names, restartMs: RESTART_DELAY }),
        onChange: { action: "none" },
      },
      ...(settings.root === MANAGED_ROOT ? [page] : []),
    ],
    units: [{ name: "nginx.service", running: true, holdsRole: false }],
    validators: [{ name: "nginx -t", covers: ["/etc/nginx/"], command: "nginx -t -q" }],
    health: [
      { name: "nginx runs", command: "systemctl is-active --quiet nginx.service", deadlineSeconds: 10 },
      {
        name: "nginx answers its health endpoint",
        command:
          `python3 -c 'import http.client; c = http.client.HTTPConnection("${address}", ${settings.port}, timeout=2); ` +
          `c.request("GET", "${settings.healthPath}"); r = c.getresponse(); assert r.status == 200, r.status'`,
        deadlineSeconds: 10,
      },
    ],
  };
}

function timing(pair: Pair): readonly TimingTerm[] {
  if (pair.nginx === undefined) return [];
  return [
    {
      service: "nginx",
      failure: "backend-kill",
      step: "recover",
      name: "systemd starts nginx again while the other node serves",
      lower: ms(0),
      upper: ms(0),
      formula: `0 (RestartSec ${formatDuration(RESTART_DELAY)}, off the clients' path)`,
      source: "systemd.service(5)",
    },
  ];
}

function listeners(pair: Pair): readonly Listener[] {
  return pair.nginx === undefined ? [] : [behindHaproxy(pair, "nginx", pair.nginx.port)];
}

/** Two daemons cannot listen on one port of one address; HAProxy on every address takes the port from nginx as well. */
function findings(pair: Pair): readonly Finding[] {
  const { nginx: settings, haproxy } = pair;
  if (settings === undefined || haproxy === undefined) return [];
  return haproxy.frontends.flatMap((frontend, index) =>
    frontend.bind.vip === "*" && frontend.bind.port === settings.port
      ? [
          {
            rule: "listeners-distinct",
            level: "mandatory",
            path: `hotpair:pair.haproxy.frontends[${index}].bind.port`,
            message: `HAProxy's frontend "${frontend.name}" would listen on port ${settings.port} of every address, where nginx listens already`,
            fix: `set hotpair:pair.haproxy.frontends[${index}].bind.vip to a VIP's name, or hotpair:pair.nginx.port to another port`,
          } as const,
        ]
      : [],
  );
}
