// A stack file as its owner reads it: with lines. And what YAML readers would not agree about.

import { expect, test } from "vitest";
import { readStack, readStackFile } from "../../infra/config/index.ts";
import { LAB_TEXT, mistakesIn } from "./sample.ts";

const FILE = "stacks/Pulumi.prod.yaml";
const mistakes = (text: string) => mistakesIn(() => readStack(text, FILE, "prod"));
const lab = (from: string, to: string) => mistakes(LAB_TEXT.replace(from, to));

test("every mistake says its line and column, in the file's order", () => {
  const text = LAB_TEXT.replace("address: 198.18.1.12/24", "address: 10.0.1.300/24")
    .replace("routerId: 51", "routreId: 51")
    .replace("port: 8080", "port: 0");
  expect(mistakes(text)).toEqual([
    'hotpair:pair.nodes[1].networks.heartbeat.address: "10.0.1.300/24" is not an IPv4 address with prefix; expected e.g. 198.18.1.12/24 (stacks/Pulumi.prod.yaml:42:22)',
    "hotpair:pair.vips[0].routerId: is missing; expected a virtual router id from 1 to 255, e.g. 51 (stacks/Pulumi.prod.yaml:47:9)",
    'hotpair:pair.vips[0].routreId: is not a known key; did you mean "routerId"? (stacks/Pulumi.prod.yaml:49:9)',
    "hotpair:pair.nginx.port: 0 is not a port number from 1 to 65535; expected e.g. 8080 (stacks/Pulumi.prod.yaml:61:13)",
  ]);
});

test("a secret in plain text is named with its line and never shown", () => {
  const secret = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
  const text = LAB_TEXT.replace(/beaconKey:\n +secure: .*\n/, `beaconKey: ${secret}\n`);
  const found = mistakes(text);
  expect(found).toEqual([
    "hotpair:pair.beaconKey: holds a secret in plain text (not shown); treat it as published, and make one with `hotpair secrets rotate` (stacks/Pulumi.prod.yaml:64:16)",
  ]);
  expect(found.join()).not.toContain(secret);
});

test("a plain secret of another provider is found, too", () => {
  expect(lab("config:\n", "config:\n  aws:region: eu-central-1\n  aws:secretKey: wJalrXUtnFEMI\n")).toEqual([
    "aws:secretKey: holds a secret in plain text (not shown); treat it as published, and set a new one with `pulumi config set --secret aws:secretKey` (stacks/Pulumi.prod.yaml:7:18)",
  ]);
});

test("keys that Pulumi writes itself, and other providers' configuration, are allowed", () => {
  const text = `${LAB_TEXT}secretsprovider: awskms://alias/pair\nencryptedkey: QUFB\nenvironment:\n  - shared/base\n`;
  expect(mistakes(text.replace("config:\n", "config:\n  aws:region: eu-central-1\n"))).toEqual([]);
  expect(readStackFile(text, FILE)).toMatchObject({ secretsProvider: "awskms://alias/pair", otherConfigKeys: [] });
});

test.each([
  [
    "a key at the top that Pulumi does not know",
    "config:\n",
    "konfig: {}\nconfig:\n",
    'konfig: is not a key of a stack file; did you mean "config"? (stacks/Pulumi.prod.yaml:5:1)',
  ],
  [
    "a key of hotpair that nobody reads",
    "config:\n",
    "config:\n  hotpair:timeout: 5s\n",
    "hotpair:timeout: is not a key that hotpair reads; the pair stands under hotpair:pair (stacks/Pulumi.prod.yaml:6:3)",
  ],
  [
    "an octal number",
    "port: 8080",
    "port: 08080",
    'hotpair:pair.nginx.port: 08080 means different things to different YAML readers; write "08080" in quotes (stacks/Pulumi.prod.yaml:61:13)',
  ],
  [
    "a grouped number",
    "port: 8080",
    "port: 8_080",
    'hotpair:pair.nginx.port: 8_080 means different things to different YAML readers; write "8_080" in quotes (stacks/Pulumi.prod.yaml:61:13)',
  ],
  [
    "a date",
    "name: lab",
    "name: 2026-11-20",
    'hotpair:pair.name: 2026-11-20 means different things to different YAML readers; write "2026-11-20" in quotes (stacks/Pulumi.prod.yaml:7:11)',
  ],
  [
    "a truth value of YAML 1.1",
    "name: lab",
    "name: off",
    'hotpair:pair.name: off means different things to different YAML readers; write "off" in quotes (stacks/Pulumi.prod.yaml:7:11)',
  ],
  [
    "an anchor",
    "name: lab",
    "name: &n lab",
    "hotpair:pair.name: anchors and aliases are not read here; write the value out (stacks/Pulumi.prod.yaml:7:14)",
  ],
  [
    "a tag",
    "name: lab",
    "name: !env LAB",
    "hotpair:pair.name: the tag !env is not read here; write the value without it (stacks/Pulumi.prod.yaml:7:16)",
  ],
  [
    "a key twice",
    "    name: lab\n",
    "    name: lab\n    name: lab2\n",
    "Map keys must be unique (stacks/Pulumi.prod.yaml:8:5)",
  ],
])("%s is refused", (_, from, to, expected) => {
  expect(lab(from, to)[0]).toBe(expected);
});

test("text that is no YAML is refused with its place", () => {
  expect(mistakes("config:\n  hotpair:pair: {name: [lab\n")).toEqual([
    expect.stringMatching(/^Flow .* \(stacks\/Pulumi\.prod\.yaml:\d:\d+\)$/),
    expect.stringMatching(/^Flow .* \(stacks\/Pulumi\.prod\.yaml:\d:\d+\)$/),
  ]);
});

test("a file without a pair says how to start one", () => {
  expect(mistakes("config:\n  aws:region: eu-central-1\n")).toEqual([
    "config has no hotpair:pair; start a new stack file with `hotpair init` (stacks/Pulumi.prod.yaml:2:3)",
  ]);
  expect(mistakes("")).toEqual([
    "config has no hotpair:pair; start a new stack file with `hotpair init` (stacks/Pulumi.prod.yaml:1:1)",
  ]);
});
