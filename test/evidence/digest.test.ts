// The digest changes with what decides timing and safety, and with nothing else. Both ways are tried on every single value
// that a pair has: what may change without a new drill is listed here, everything else must change the digest.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readStack } from "../../infra/config/index.ts";
import { canonical, configDigest } from "../../infra/evidence/digest.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { LAB_TEXT } from "../config/sample.ts";
import {
  cloudDataPair,
  cloudPair,
  externalService,
  labPair,
  statefulPair,
  tls,
  twoVips,
  virtualMac,
} from "../model/pairs.ts";

const digestOf = (text: string): string => configDigest(readStack(text, "Pulumi.lab.yaml", "lab").pair);

test("has the form that evidence and policies compare", () => {
  expect(configDigest(labPair)).toMatch(/^sha256:[0-9a-f]{64}$/);
});

/** Paths that matter to nobody who is timed; docs/evidence.md lists them in words. */
const HARMLESS: readonly RegExp[] = [
  /^name$/,
  /^(objectives|evidence|limits|failures|secrets)\./,
  /^nodes\.\d\.(name|site|ssh\..*)$/,
  /^vips\.\d\.name$/,
  /^vrrp\.(notify|email\..*)$/,
  /^haproxy\.(frontends|backends)\.\d\.name$/,
  /^haproxy\.frontends\.\d\.(certificate|bind\.vip|backend)$/,
  /^haproxy\.backends\.\d\.servers\.\d\.name$/,
  /^haproxy\.stats\./,
  /^nginx\.root$/,
  /^external\.(name|units.*)$/,
  /^witness\.(name|site|ssh\..*)$/,
  /^authority\.(etcd\.quota|caCertificate|caKey\..*|members\..*)$/,
  /^mariadb\.(adopt|replicationPassword\..*)$/,
  /^fencing\.agents\.[ab]\.options\.password\.secret$/,
  /^limits\./,
  /^failures\./,
  /^aws\.(ssh|clients|bucket|backup|budget|tags|accepted|hostKeys)\b/,
  /^aws\.witness\.(elasticIp|hostKey\..*)$/,
  /^aws\.(vip\.within|vip\.record\.(hostedZone|name)|instance\.terminationProtection)$/,
  /^base\.(persistentJournal|installPackages)$/,
];

type Leaf = readonly [path: string, value: string | number | boolean];

function leavesOf(value: unknown, path: readonly string[] = []): readonly Leaf[] {
  if (typeof value === "object" && value !== null)
    return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
  return value === undefined || value === null ? [] : [[path.join("."), value as Leaf[1]]];
}

/** The pair with another value at one place, and where that is a name, everywhere else that it is meant. */
function changed(pair: Pair, path: string, value: Leaf[1]): Pair {
  const next = typeof value === "number" ? value + 1 : typeof value === "boolean" ? !value : `${value}x`;
  const copy = JSON.parse(JSON.stringify(pair));
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const holder = keys.reduce((node, key) => node[key], copy);
  holder[last] = next;
  const rename = (
    list: readonly Record<string, unknown>[],
    get: (one: Record<string, unknown>) => unknown,
    set: (one: Record<string, unknown>) => void,
  ) => {
    for (const one of list) if (get(one) === value) set(one);
  };
  if (/^vips\.\d\.name$/.test(path))
    rename(
      copy.haproxy?.frontends ?? [],
      (one) => (one.bind as { vip: string }).vip,
      (one) => {
        (one.bind as { vip: unknown }).vip = next;
      },
    );
  if (/^haproxy\.backends\.\d\.name$/.test(path))
    rename(
      copy.haproxy.frontends,
      (one) => one.backend,
      (one) => {
        one.backend = next;
      },
    );
  return copy;
}

describe.each(
  Object.entries({ labPair, statefulPair, tls, twoVips, virtualMac, externalService, cloudPair, cloudDataPair }),
)("%s", (_, pair) => {
  // A frontend that names nothing that there is, is no configuration; the two are tried by renaming what they name.
  const leaves = leavesOf(pair).filter(([path]) => !/^haproxy\.frontends\.\d\.(bind\.vip|backend)$/.test(path));
  const harmless = ([path]: Leaf): boolean => HARMLESS.some((each) => each.test(path));

  test("what is harmless leaves it as it is", () => {
    const outdated = leaves.filter(
      (leaf) => harmless(leaf) && configDigest(changed(pair, ...leaf)) !== configDigest(pair),
    );
    expect(outdated.map(([path]) => path)).toEqual([]);
  });

  test("everything else changes it", () => {
    const ignored = leaves.filter(
      (leaf) => !harmless(leaf) && configDigest(changed(pair, ...leaf)) === configDigest(pair),
    );
    expect(ignored.map(([path]) => path)).toEqual([]);
  });
});

test("comments, the order of keys and the defaults written out leave it as it is", () => {
  expect(digestOf(`# a comment\n${LAB_TEXT}`)).toBe(digestOf(LAB_TEXT));
  expect(digestOf(LAB_TEXT.replace(/^( +)vips:/m, "$1arbiter: { serviceDead: 2s }\n$1vips:"))).toBe(digestOf(LAB_TEXT));
  expect(digestOf(LAB_TEXT.replace(/^( +)vips:/m, "$1arbiter: { serviceDead: 3s }\n$1vips:"))).not.toBe(
    digestOf(LAB_TEXT),
  );
});

test("a backend that nobody leads to, and the order of frontends, leave it as they are", () => {
  const haproxy = twoVips.haproxy;
  const [backend] = haproxy?.backends ?? [];
  if (haproxy === undefined || backend === undefined) throw new Error("the pair has HAProxy");
  const unused = { ...haproxy, backends: [...haproxy.backends, { ...backend, name: "spare", maxconn: 7 }] };
  expect(configDigest({ ...twoVips, haproxy: unused })).toBe(configDigest(twoVips));
  const turned = { ...haproxy, frontends: haproxy.frontends.toReversed() };
  expect(configDigest({ ...twoVips, haproxy: turned })).toBe(configDigest(twoVips));
});

test("a new witness, a new service, a third network change it", () => {
  const { storage: _, ...networks } = labPair.networks;
  const others = [{ ...labPair, networks }, { ...labPair, nginx: undefined }, statefulPair, twoVips, virtualMac];
  expect(new Set([labPair, ...others].map(configDigest)).size).toBe(others.length + 1);
});

test("the text does not depend on the order of keys nor on what is undefined", () => {
  expect(canonical({ b: [1, { d: undefined, c: "x" }], a: null })).toBe('{"a":null,"b":[1,{"c":"x"}]}');
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.infiniteStream(fc.nat()), (value, draws) => {
      const shuffled = Object.fromEntries(
        Object.entries(value)
          .map((entry) => [draws.next().value ?? 0, entry] as const)
          .sort(([one], [other]) => one - other)
          .map(([, entry]) => entry),
      );
      expect(canonical(shuffled)).toBe(canonical(value));
      expect(JSON.parse(canonical(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
    { numRuns: 100 },
  );
});
