// What the pair relies on in nginx's configuration, beyond what the goldens show.

import { expect, test } from "vitest";
import { nginx } from "../../infra/services/nginx.ts";
import { externalService, labPair } from "../model/pairs.ts";

test("a pair without nginx gets nothing of it", () => {
  expect(nginx.plan(externalService, "a")).toBeUndefined();
  expect(nginx.timing(externalService)).toEqual([]);
});

test("it listens on the node's own address, so that both nodes serve", () => {
  const listen = (id: "a" | "b") =>
    String(nginx.plan(labPair, id)?.files.find(({ path }) => path.endsWith("conf.d/hotpair.conf"))?.content);
  expect(listen("a")).toContain("listen 198.18.0.11:8080 ");
  expect(listen("b")).toContain("listen 198.18.0.12:8080 ");
});

test("an index page is written only into a root of hotpair's own", () => {
  const paths = (root: string) =>
    nginx.plan({ ...labPair, nginx: { port: 8080, healthPath: "/healthz", root } }, "a")?.files.map(({ path }) => path);
  expect(paths("/var/lib/hotpair/www")).toContain("/var/lib/hotpair/www/index.html");
  expect(paths("/srv/shop")?.filter((path) => path.endsWith("index.html"))).toEqual([]);
});

test("no change of its files restarts it", () => {
  const actions = nginx.plan(labPair, "a")?.files.map(({ onChange }) => onChange.action);
  expect(actions).not.toContain("restart");
});
