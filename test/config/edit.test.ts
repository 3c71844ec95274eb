// Single values change in a stack file; every other byte stays its owner's.

import { expect, test } from "vitest";
import { removeValue, setValue } from "../../infra/config/edit.ts";
import { LAB_TEXT } from "./sample.ts";

/** Lines that only one of the texts has, as a diff would show them. */
function difference(before: string, after: string): readonly string[] {
  const [old, now] = [before.split("\n"), after.split("\n")];
  return [
    ...old.filter((line) => !now.includes(line)).map((line) => `- ${line.trim()}`),
    ...now.filter((line) => !old.includes(line)).map((line) => `+ ${line.trim()}`),
  ];
}

test("a value is exchanged where it stands", () => {
  const edited = setValue(LAB_TEXT, ["nodes", 1, "ssh", "hostKey"], "ssh-ed25519 QUFB");
  expect(difference(LAB_TEXT, edited)).toEqual([
    "- hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJGgoa/KOok39SaTZUSHpM8ROESxgBjR//Turbld8GO",
    "+ hostKey: ssh-ed25519 QUFB",
  ]);
  expect(
    setValue(
      edited,
      ["nodes", 1, "ssh", "hostKey"],
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJGgoa/KOok39SaTZUSHpM8ROESxgBjR//Turbld8GO",
    ),
  ).toBe(LAB_TEXT);
});

test("a new secret comes at the end of its map, and goes without a trace", () => {
  const edited = setValue(LAB_TEXT, ["previousBeaconKey"], { secure: "v1:QUFB:QkJC" });
  expect(difference(LAB_TEXT, edited)).toEqual(["+ previousBeaconKey:", "+ secure: v1:QUFB:QkJC"]);
  expect(removeValue(edited, ["previousBeaconKey"])).toBe(LAB_TEXT);
});

test("comments, quotes, 0100 and dates beside an edit stay as they are", () => {
  const text = `# mine
config:
  other:mode: 0100   # octal on purpose
  other:since: 2026-11-20
  hotpair:pair:
    nodes:

      - ssh: # the first
          host: "a"   # by name

      # the second
      - ssh: { host: 'b', port: 22 }  # in one line
    beaconKey: plain # to be replaced
`;
  const key = "ssh-ed25519 QUFB";
  let edited = setValue(text, ["nodes", 0, "ssh", "hostKey"], key);
  edited = setValue(edited, ["nodes", 1, "ssh", "hostKey"], key);
  edited = setValue(edited, ["beaconKey"], { secure: "v1:QUFB:QkJC" });
  expect(edited).toBe(`# mine
config:
  other:mode: 0100   # octal on purpose
  other:since: 2026-11-20
  hotpair:pair:
    nodes:

      - ssh: # the first
          host: "a"   # by name
          hostKey: ssh-ed25519 QUFB

      # the second
      - ssh: { host: 'b', port: 22, hostKey: "ssh-ed25519 QUFB" }  # in one line
    beaconKey:
      secure: v1:QUFB:QkJC
`);
});

const PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

test("maps on the way are made, and lines stand as lines", () => {
  let edited = setValue(LAB_TEXT, ["authority", "caCertificate"], PEM);
  edited = setValue(edited, ["authority", "members", "a", "key"], { secure: "v1:QUFB:QkJC" });
  edited = setValue(edited, ["authority", "members", "a", "certificate"], PEM);
  edited = setValue(edited, ["witness", "ssh", "hostKey"], "ssh-ed25519 QUFB");
  expect(edited).toBe(
    LAB_TEXT.replace(
      /(beaconKey:\n {6}secure: .*\n)/,
      `$1    authority:
      caCertificate: |
        -----BEGIN CERTIFICATE-----
        MAA=
        -----END CERTIFICATE-----
      members:
        a:
          key:
            secure: v1:QUFB:QkJC
          certificate: |
            -----BEGIN CERTIFICATE-----
            MAA=
            -----END CERTIFICATE-----
  hotpair:witness:
    ssh:
      hostKey: ssh-ed25519 QUFB
`,
    ),
  );
});

test("a block of lines is exchanged where it stands, and goes without its neighbour", () => {
  const before = setValue(setValue(LAB_TEXT, ["authority", "caCertificate"], PEM), ["authority", "caKey"], {
    secure: "v1:a:b",
  });
  const other = PEM.replace("MAA=", "MAAA\nAAAA");
  const edited = setValue(before, ["authority", "caCertificate"], other);
  expect(difference(before, edited)).toEqual(["- MAA=", "+ MAAA", "+ AAAA"]);
  expect(setValue(edited, ["authority", "caCertificate"], PEM)).toBe(before);
  const without = removeValue(edited, ["authority", "caCertificate"]);
  expect(without).toBe(setValue(LAB_TEXT, ["authority", "caKey"], { secure: "v1:a:b" }));
});

test("a certificate takes the place of a word, and a word that of a certificate", () => {
  const word = setValue(LAB_TEXT, ["authority", "caCertificate"], "todo");
  const lines = setValue(word, ["authority", "caCertificate"], PEM);
  expect(lines).toBe(setValue(LAB_TEXT, ["authority", "caCertificate"], PEM));
  expect(setValue(lines, ["authority", "caCertificate"], "todo")).toBe(word);
});

test("in a map of one line everything stays in that line", () => {
  const text = "config:\n  hotpair:pair: { name: shop }\n";
  expect(setValue(text, ["authority", "members", "a", "certificate"], PEM)).toBe(
    `config:\n  hotpair:pair: { name: shop, authority: { members: { a: { certificate: ${JSON.stringify(PEM)} } } } }\n`,
  );
});

test("removing what is not there changes nothing", () => {
  expect(removeValue(LAB_TEXT, ["previousBeaconKey"])).toBe(LAB_TEXT);
});

test("a place without a map around it is an error, not a guess", () => {
  expect(() => setValue(LAB_TEXT, ["nodes", 7, "ssh", "hostKey"], "x")).toThrow(
    "hotpair:pair.nodes[7].ssh.hostKey has no map around it",
  );
});

test("times and numbers stand as a person writes them, without quotes", () => {
  const edited = setValue(
    setValue(LAB_TEXT, ["vrrp", "advertInterval"], "160ms"),
    ["haproxy", "backends", 0, "check", "fall"],
    5,
  );
  expect(difference(LAB_TEXT, edited)).toEqual(expect.arrayContaining(["+ advertInterval: 160ms", "+ fall: 5"]));
  const flow = "config:\n  hotpair:pair:\n    vrrp: { priority: 100, advertInterval: 1s } # slow\n";
  expect(setValue(setValue(flow, ["vrrp", "priority"], 253), ["vrrp", "advertInterval"], "100ms")).toBe(
    "config:\n  hotpair:pair:\n    vrrp: { priority: 253, advertInterval: 100ms } # slow\n",
  );
});
