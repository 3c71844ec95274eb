// Evidence that must be signed: with OpenSSH's own programs and throwaway keys. What an operator signed counts; what nobody,
// somebody else, or they themselves after their time signed, does not; and whatever is changed in a signed entry is noticed.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { canonical } from "../../infra/evidence/digest.ts";
import { sha256 } from "../../infra/evidence/history.ts";
import { historyFolder, pruneEvidence, readRecords } from "../../infra/evidence/records.ts";
import { NAMESPACE, type Sign, signerWith } from "../../infra/evidence/signature.ts";
import { daysAgo, keep, STACK } from "./trial.ts";

let directory: string;
let allowedSigners: string;
let operator: Sign;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-signed-"));
  allowedSigners = join(directory, "allowed_signers");
  operator = signerWith(newKey("operator"));
  allow("operator");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function newKey(name: string): string {
  const file = join(directory, name);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  return file;
}

/** Makes a key the only one that may sign, with options of ssh-keygen's ALLOWED SIGNERS. */
function allow(name: string, options = `namespaces="${NAMESPACE}"`): void {
  const [type, key] = readFileSync(join(directory, `${name}.pub`), "utf8").split(" ");
  writeFileSync(allowedSigners, `${name}@example.net ${options} ${type} ${key}\n`);
}

const drill = (sign?: Sign, changes = {}) => keep(directory, "clean-reboot", "clean-reboot", changes, sign);
const judged = () => {
  const { drills, broken } = readRecords(directory, STACK, { allowedSigners });
  return { broken, drills: drills.map(({ signer, distrusted }) => signer ?? distrusted) };
};

test("what an operator signed counts, and says who that was", () => {
  drill(operator);
  drill(operator, { startedAt: daysAgo(0) });
  expect(judged()).toEqual({ broken: undefined, drills: ["operator@example.net", "operator@example.net"] });
});

test("what nobody signed, or somebody else, does not count", () => {
  drill();
  drill(signerWith(newKey("stranger")), { startedAt: daysAgo(0) });
  const [unsigned, strange] = judged().drills;
  expect(unsigned).toMatch(/^\/.*\/history\/\S+\.json is not signed$/);
  expect(strange).toMatch(/\.json: its key may not sign, by .*allowed_signers \(No principal matched\.\)$/);
});

test("who has left may sign nothing new, and what they signed stands", () => {
  drill(operator, { startedAt: "2026-01-10T00:00:00.000Z" });
  drill(operator, { startedAt: "2026-03-10T00:00:00.000Z" });
  allow("operator", 'valid-before="20260201Z"');
  const [before, after] = judged().drills;
  expect(before).toBe("operator@example.net");
  expect(after).toMatch(/may not sign/);
});

test("a signature for another purpose does not count", () => {
  const other: Sign = (text) =>
    execFileSync("ssh-keygen", ["-q", "-Y", "sign", "-f", join(directory, "operator"), "-n", "git"], { input: text })
      .toString()
      .replaceAll(/-----(BEGIN|END) SSH SIGNATURE-----|\s/g, "");
  drill(other);
  allow("operator", "");
  expect(judged().drills[0]).toMatch(/its signature does not hold/);
});

describe("a signed entry", () => {
  /** Changes the newest entry and gives it the name that its new digest asks for, as somebody would who wants to deceive. */
  const forge = (change: (text: string) => string) => {
    const folder = historyFolder(directory, STACK);
    const name = readdirSync(folder).toSorted().at(-1) ?? "";
    const text = change(readFileSync(join(folder, name), "utf8"));
    rmSync(join(folder, name));
    writeFileSync(join(folder, name.replace(/[0-9a-f]{16}\.json$/, `${sha256(text).slice(7, 23)}.json`)), text);
    return judged();
  };

  test("is refused when anything in it is changed, the last one too", () => {
    drill(operator);
    const { broken, drills } = forge((text) => text.replace('"passedRuns":2', '"passedRuns":1'));
    expect(broken).toBeUndefined();
    expect(drills[0]).toMatch(/its signature does not hold/);
  });

  test("is refused behind another one than it was signed for", () => {
    drill(operator, { startedAt: daysAgo(2) });
    drill(operator, { startedAt: daysAgo(1) });
    const { drills } = forge((text) => {
      const { entry, signature } = JSON.parse(text);
      return `${canonical({ entry: { ...entry, parents: [] }, signature })}\n`;
    });
    expect(drills[1]).toMatch(/its signature does not hold/);
  });

  test("is refused with the signature of another one", () => {
    drill(operator, { startedAt: daysAgo(2) });
    const [first = ""] = readdirSync(historyFolder(directory, STACK));
    const { signature } = JSON.parse(readFileSync(join(historyFolder(directory, STACK), first), "utf8"));
    drill(operator, { startedAt: daysAgo(1) });
    const { drills } = forge((text) => `${canonical({ ...JSON.parse(text), signature })}\n`);
    expect(drills[0]).toBe("operator@example.net");
    expect(drills[1]).toMatch(/its signature does not hold/);
  });
});

test("removing drills needs a signature, too", () => {
  const [file = ""] = [drill(operator)].map((path) => path.split("/").at(-1) ?? "");
  drill(operator, { startedAt: daysAgo(0) });
  pruneEvidence(directory, STACK, { files: [file], at: new Date().toISOString(), sign: undefined });
  expect(judged().broken).toMatch(/\.json is not signed$/);
});

test("the newest drill of a scenario cannot be removed by an entry of the history", () => {
  const file = drill(operator).split("/").at(-1) ?? "";
  pruneEvidence(directory, STACK, { files: [file], at: new Date().toISOString(), sign: operator });
  expect(judged().broken).toMatch(/\.json removes the newest drill of a scenario/);
});

test("a missing list of signers lets nothing through", () => {
  drill(operator);
  expect(readRecords(directory, STACK, { allowedSigners: "stacks/nobody" }).broken).toBe(
    "stacks/nobody, who may sign, does not exist",
  );
});

test("a key that does not sign is found before the drill", () => {
  expect(() => signerWith(join(directory, "nokey"))).toThrow(/nokey does not sign: /);
});
