// A plan is pure data in a fixed order: the same pair always makes the same two plans.

import { expect, test } from "vitest";
import { planPair } from "../../infra/plan/plan.ts";
import { externalService, labPair, tls, twoVips, virtualMac } from "../model/pairs.ts";

const cases = Object.entries({ labPair, twoVips, virtualMac, tls, externalService });

test.each(cases)("%s: paths are unique, sorted and below the places that a plan may touch", (_name, pair) => {
  for (const { files } of planPair(pair)) {
    const paths = files.map(({ path }) => path);
    expect(paths).toEqual([...new Set(paths)].sort());
    for (const path of paths) expect(path).toMatch(/^\/(etc|usr\/lib\/hotpair|usr\/lib\/systemd|var\/lib\/hotpair)\//);
    for (const { mode } of files) expect(mode).toMatch(/^0[0-7]{3}$/);
  }
});

test.each(cases)("%s: planned again, byte for byte the same", (_name, pair) => {
  expect(JSON.stringify(planPair(structuredClone(pair)))).toBe(JSON.stringify(planPair(pair)));
});

test.each(cases)("%s: every validator covers a file, and every unit and package stands once", (_name, pair) => {
  for (const { files, validators, units, packages } of planPair(pair)) {
    for (const { name, covers } of validators)
      expect(
        files.some(({ path }) => covers.some((prefix) => path.startsWith(prefix))),
        name,
      ).toBe(true);
    expect(new Set(units.map(({ name }) => name)).size).toBe(units.length);
    expect(packages).toEqual([...new Set(packages)].sort());
  }
});

test("secret files hold references, and nothing else does", () => {
  for (const { files } of planPair(labPair))
    for (const { content, secret, mode } of files)
      if (typeof content !== "string") {
        expect(secret).toBe(true);
        expect(mode).toBe("0600");
      }
});

test("the two nodes share everything but their own names and addresses", () => {
  const [a, b] = planPair(labPair);
  expect(a.files.map(({ path }) => path)).toEqual(b.files.map(({ path }) => path));
  expect(a.packages).toEqual(b.packages);
  expect(a.vips).toEqual([{ name: "web", address: "198.18.0.100/24", interface: "a-pub" }]);
  expect(b.vips).toEqual([{ name: "web", address: "198.18.0.100/24", interface: "b-pub" }]);
});

test("a service that the pair does not use leaves no trace", () => {
  const [a] = planPair({ ...labPair, nginx: undefined, haproxy: undefined });
  const paths = a.files.map(({ path }) => path).filter((path) => !path.startsWith("/usr/lib/hotpair/"));
  expect(JSON.stringify(paths)).not.toMatch(/nginx|haproxy/);
});

test("systemd's parser reads every unit that the plan makes or extends, once", () => {
  const [a] = planPair(labPair);
  const [first, ...others] = a.validators.filter(({ command }) => command.includes("systemd-analyze"));
  expect(others).toEqual([]);
  const units = first?.command.split(" ").filter((word) => /\.(service|target|timer)$/.test(word)) ?? [];
  expect(units).toEqual([...new Set(units)]);
  for (const unit of ["haproxy.service", "nginx.service", "keepalived.service", "hotpair-undo.timer"])
    expect(units).toContain(unit);
});
