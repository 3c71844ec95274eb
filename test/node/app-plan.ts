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

/** The plan that every test varies. `files` come in place of, or in addition to, those with the same path. */
export function appPlan(change: { files?: readonly PlannedFile[]; without?: readonly string[] } & Partial<NodePlan> = {}): NodePlan {
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
      { name: "haproxy -c", covers: ["/etc/haproxy/"], command: "haproxy -c -q -f /etc/haproxy/haproxy.cfg" },
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
