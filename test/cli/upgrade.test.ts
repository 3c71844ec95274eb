// What a person reads of a host before and after an upgrade.

import { expect, test } from "vitest";
import { describeNeeds } from "../../infra/cli/upgrade.ts";
import { readNeeds } from "../../infra/model/upgrade.ts";

const shown = (said: string): string => describeNeeds("node-a", readNeeds(said)).join("\n");

test("a host without anything to do is up to date", () => {
  expect(shown("")).toBe("node-a: up to date");
});

test("everything that was found is named, with what can be done about it", () => {
  const said = [
    "package haproxy 3.0.11-1 3.0.11-1+deb13u2",
    "package linux-image-6.12.50-amd64 - 6.12.50-1",
    "kept openssh-server",
    "restart haproxy.service",
    "other cron.service",
    "other hotpair-etcd-mail.service",
    "reboot kernel 6.12.50-amd64 is installed, 6.12.48-amd64 runs",
  ];
  expect(shown(said.join("\n"))).toMatchInlineSnapshot(`
    "node-a:
      haproxy 3.0.11-1 → 3.0.11-1+deb13u2
      linux-image-6.12.50-amd64 (new) → 6.12.50-1
      restart haproxy.service: it runs on files that were replaced
      kept back, since others would have to go: openssh-server (apt-get dist-upgrade, by hand)
      of other pairs, and on replaced files: hotpair-etcd-mail.service (hotpair upgrade with their stacks)
      not the pair's, and also on replaced files: cron.service (--reboot, or restart them)
      wants a reboot: kernel 6.12.50-amd64 is installed, 6.12.48-amd64 runs (--reboot)"
  `);
});
