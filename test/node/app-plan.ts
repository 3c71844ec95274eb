// A small plan for the tests of the apply transaction: real nginx and HAProxy with files of every kind that a plan can
// hold. Independent of the services on purpose: what the pair's own files say is not what is tested here.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { NodePlan, PlannedFile } from "../../infra/model/plan.ts";

const nodeFile = (name: string): string => readFileSync(join(import.meta.dirname, "../../infra/node", name), "utf8");

const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
const nothing = { action: "none" } as const;

export const NGINX_CONF = "/etc/nginx/conf.d/app.conf";
export const HAPROXY_CFG = "/etc/haproxy/haproxy.cfg";
export const KEY = "/etc/app/app.key";
export const NOTE = "/etc/app/note";
/** Stands on every server before hotpair comes. */
export const MOTD = "/etc/motd";
export const APP_CONF = "/etc/app/app.conf";
export const DROP_IN = "/etc/systemd/system/nginx.service.d/60-app.conf";
export const SECRET = "0123456789abcdef-only-for-root";

export const file = (path: string, content: PlannedFile["content"], more: Partial<PlannedFile> = {}): PlannedFile => ({
  ...root,
  path,
  content,
  onChange: nothing,
  ...more,
});

/** What nginx answers on port 8080, so that a change is seen from outside. */
export const nginxConf = (answer: string): string =>
  `server {\n  listen 8080;\n  location / { return 200 "${answer}\\n"; }\n}\n`;

export const haproxyCfg = (comment = "first"): string =>
  [
    `# ${comment}`,
    "global",
    "  stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners",
    "defaults",
    "  mode http",
    "  timeout connect 1s",
    "  timeout client 5s",
    "  timeout server 5s",
    "listen app",
    "  bind :8081",
    "  server local 127.0.0.1:8080",
    "",
  ].join("\n");

/** A daemon whose only setting is `ok`; reloaded with anything else, it says so and dies. */
const appDaemon = [
  "#!/bin/sh",
  "# Reads its setting at start and on SIGHUP.",
  'check() { grep -qx ok /etc/app/app.conf || { echo "app: line 1 of /etc/app/app.conf: bad setting"; exit 1; }; }',
  "check",
  'trap "sleep 0.2; check" HUP',
  "while :; do sleep 1 & wait; done",
  "",
].join("\n");

const appService = [
  "[Unit]",
  "Description=A daemon of the tests",
  "[Service]",
  "ExecStart=/bin/sh /usr/lib/hotpair/app-daemon",
  "ExecReload=/bin/kill -HUP $MAINPID",
  "[Install]",
  "WantedBy=multi-user.target",
  "",
].join("\n");

export const appUnit = { name: "app.service", running: true, holdsRole: false } as const;

/** What the daemon needs: its files with their actions. */
export const appFiles = (setting = "ok", version = "1"): readonly PlannedFile[] => [
  file("/usr/lib/hotpair/app-daemon", appDaemon, {
    mode: "0755",
    onChange: { action: "restart", unit: "app.service" },
  }),
  file("/etc/systemd/system/app.service", `# version ${version}\n${appService}`, {
    onChange: { action: "restart", unit: "app.service" },
  }),
  file(APP_CONF, `${setting}\n`, { onChange: { action: "reload", unit: "app.service" } }),
];

/** The plan that every test varies. `files` come in place of, or in addition to, those with the same path. */
export function appPlan(
  change: { files?: readonly PlannedFile[]; without?: readonly string[] } & Partial<NodePlan> = {},
): NodePlan {
  const { files: changed = [], without = [], ...rest } = change;
  const files = [
    file("/usr/lib/hotpair/hotpair-apply", nodeFile("hotpair-apply"), { mode: "0755" }),
    file("/etc/systemd/system/hotpair-undo.service", nodeFile("hotpair-undo.service")),
    file("/etc/systemd/system/hotpair-undo.timer", nodeFile("hotpair-undo.timer")),
    file("/etc/sysctl.d/60-app.conf", "net.ipv4.ip_nonlocal_bind = 1\n", {
      onChange: { action: "restart", unit: "systemd-sysctl.service" },
    }),
    file(NGINX_CONF, nginxConf("one"), { onChange: { action: "reload", unit: "nginx.service" } }),
    file(HAPROXY_CFG, haproxyCfg(), { onChange: { action: "reload", unit: "haproxy.service" } }),
    file(KEY, ["key ", { secret: "appKey" }, "\n"], { mode: "0640", group: "haproxy", secret: true }),
    file(NOTE, "kept for nobody\n"),
    file(MOTD, "managed by the tests\n"),
    file(DROP_IN, "[Service]\nRestart=on-failure\n", { onChange: { action: "restart", unit: "nginx.service" } }),
  ].filter(({ path }) => !without.includes(path) && !changed.some((other) => other.path === path));
  return {
    node: "a",
    name: "node-a",
    installPackages: true,
    packages: ["nginx", "haproxy"],
    vips: [{ name: "web", address: "203.0.113.10/24", interface: "lo" }],
    files: [...files, ...changed].sort((x, y) => (x.path < y.path ? -1 : 1)),
    units: [
      { name: "hotpair-undo.service", running: false, holdsRole: false },
      { name: "haproxy.service", running: true, holdsRole: false },
      { name: "nginx.service", running: true, holdsRole: false },
    ],
    validators: [
      { name: "haproxy -c", covers: ["/etc/haproxy/"], command: "haproxy -c -f /etc/haproxy/haproxy.cfg" },
      { name: "nginx -t", covers: ["/etc/nginx/"], command: "nginx -t -q" },
    ],
    health: [
      {
        name: "nginx answers",
        command: "curl -sf -m 1 -o /dev/null http://127.0.0.1:8080/",
        deadlineSeconds: 3,
      },
    ],
    ...rest,
  };
}

/**
 * The second plan of the interruption tests: against `appPlan()` it adds files in directories of their own and a unit,
 * changes files that need a reload and a restart, drops a file that hotpair brought and one that was there before.
 */
export const secondPlan = (): NodePlan => {
  const changed = [
    file(NGINX_CONF, nginxConf("two"), { onChange: { action: "reload", unit: "nginx.service" } }),
    file(HAPROXY_CFG, haproxyCfg("second"), { onChange: { action: "reload", unit: "haproxy.service" } }),
    file(DROP_IN, "[Service]\nRestart=always\n", { onChange: { action: "restart", unit: "nginx.service" } }),
    file("/etc/app/deep/er/file", "new\n"),
    ...appFiles(),
  ];
  return appPlan({ files: changed, without: [NOTE, MOTD], units: [...appPlan().units, appUnit] });
};
