// What the pair relies on in HAProxy's configuration, beyond what the goldens show.

import { expect, test } from "vitest";
import { checkDetection, silentDetection } from "../../infra/model/checks.ts";
import { ms, seconds } from "../../infra/model/duration.ts";
import type { Backend, NodeId, Pair } from "../../infra/model/pair.ts";
import { haproxy } from "../../infra/services/haproxy.ts";
import { labPair, tls, twoVips } from "../model/pairs.ts";

const configuration = (pair: Pair, node: NodeId = "a"): string => {
  const file = haproxy.plan(pair, node)?.files.find(({ path }) => path === "/etc/haproxy/haproxy.cfg");
  if (typeof file?.content !== "string") throw new Error("no haproxy.cfg");
  return file.content;
};

test("a pair without HAProxy gets nothing of it", () => {
  const without = { ...labPair, haproxy: undefined };
  expect(haproxy.plan(without, "a")).toBeUndefined();
  expect(haproxy.timing(without)).toEqual([]);
  expect(haproxy.findings(without)).toEqual([]);
});

test("a changed configuration is reloaded, not restarted", () => {
  const plan = haproxy.plan(labPair, "a");
  expect(plan?.files.map(({ onChange }) => onChange.action)).toEqual(["reload", "none"]);
  expect(plan?.units).toEqual([{ name: "haproxy.service", running: true, holdsRole: false }]);
});

test("both nodes have the same configuration but for their own name", () => {
  const differing = (one: string, other: string): readonly string[] => {
    const theirs = new Set(other.split("\n"));
    return one.split("\n").filter((line) => !theirs.has(line));
  };
  const [here, there] = [configuration(labPair), configuration(labPair, "b")];
  expect(differing(here, there).map((line) => line.replaceAll("node-a", "node-b"))).toEqual(differing(there, here));
});

test("every frontend is bound to its VIP's address, whoever holds it", () => {
  expect(configuration(twoVips)).toContain("bind 198.18.0.100:80\n");
  expect(configuration(twoVips)).toContain("bind 198.18.0.101:80\n");
});

test("TLS is ended with the certificate at its path on the server", () => {
  expect(configuration(tls)).toContain("bind 198.18.0.100:443 ssl crt /etc/haproxy/certs/shop.pem alpn h2,http/1.1\n");
});

test("requests that may have been carried out are repeated only when they change nothing", () => {
  const text = configuration(labPair);
  expect(text).toContain("http-request disable-l7-retry unless METH_GET || METH_OPTIONS || METH_TRACE\n");
  expect(configuration(tls).split("\nbackend mail\n")[1]).not.toContain("retry-on");
});

test("the statistics page and the administration socket stay on the server", () => {
  const text = configuration(labPair);
  expect(text.match(/^ {4}bind .*8404.*$/gm)).toEqual(["    bind 127.0.0.1:8404"]);
  expect(text).toContain(
    "stats socket /run/haproxy/admin.sock mode 660 group haproxy level admin expose-fd listeners\n",
  );
});

test("detection of a dead server: an ordinary pause, then slow failures with short pauses", () => {
  const backend = (check: Partial<Backend["check"]>): Backend => {
    const [first] = labPair.haproxy?.backends ?? [];
    if (first === undefined) throw new Error("the lab's pair has a backend");
    return { ...first, check: { ...first.check, ...check } };
  };
  const calm = { interval: ms(250), fastInterval: ms(100) };
  // A machine that is gone: 250 until the next check, two connections of 50, 100 between them.
  expect(silentDetection(backend(calm), ms(50))).toBe(450);
  expect(silentDetection(backend({ ...calm, fall: 3 }), ms(50))).toBe(250 + 3 * 50 + 2 * 100);
  // A connection that nobody answers ends a check after `timeout connect`, but not later than the next would come.
  expect(silentDetection(backend(calm), seconds(5))).toBe(250 + 2 * 250 + 100);
  // A daemon that accepts and hangs: two answers of 250 are waited for.
  expect(checkDetection(backend(calm), ms(50))).toBe(250 + 2 * 250 + 100);
});

test("with the default timers a dead node's server is out before the VIP can be there", () => {
  const [backend] = labPair.haproxy?.backends ?? [];
  if (backend === undefined) throw new Error("the lab's pair has a backend");
  expect(silentDetection(backend, ms(50))).toBeLessThan(3 * 100);
});
