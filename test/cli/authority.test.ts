// `hotpair authority init` and `issue` on stack files: what they write, and what they refuse. Exchanging certificates asks
// the servers and is proven with real ones (test/program/witness.stateful.test.ts).

import { X509Certificate } from "node:crypto";
import { afterAll, beforeEach, expect, test } from "vitest";
import { readStack } from "../../infra/config/index.ts";
import { Project } from "./project.ts";

const project = new Project();
const KEY = { PULUMI_CONFIG_PASSPHRASE: "hotpair-lab" };
const WITNESS = [
  "  hotpair:witness:",
  "    name: witness",
  "    address: 198.18.0.13",
  "    ssh:",
  "      host: 198.18.0.13",
  "",
].join("\n");
const withWitness = (text: string): string => text.replace(/^encryptionsalt:/m, `${WITNESS}encryptionsalt:`);

beforeEach(() => project.write("shop", withWitness(project.read("lab"))));
afterAll(() => project.remove());

test("init writes an authority and three certificates; keys stand there encrypted alone", async () => {
  const { code, stdout, stderr } = await project.hotpair(["authority", "init", "-s", "shop"], KEY);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("stacks/Pulumi.shop.yaml has the pair's own certificate authority and three member");
  const text = project.read("shop");
  expect(text).not.toContain("PRIVATE KEY");
  const pinned = text.replace("      host: 198.18.0.13\n", `$&      hostKey: ${/hostKey: (.*)/.exec(text)?.[1]}\n`);
  const { authority } = readStack(pinned, "Pulumi.shop.yaml", "shop").pair;
  const ca = new X509Certificate(authority?.caCertificate ?? "");
  for (const [id, address] of Object.entries({ a: "198.18.0.11", b: "198.18.0.12", witness: "198.18.0.13" })) {
    const certificate = new X509Certificate(authority?.members[id as "a"].certificate ?? "");
    expect(certificate.checkIP(address), id).toBe(address);
    expect(certificate.verify(ca.publicKey), id).toBe(true);
  }
});

test("init does not replace an authority, and says what does", async () => {
  await project.hotpair(["authority", "init", "-s", "shop"], KEY);
  const before = project.read("shop");
  const { code, stderr } = await project.hotpair(["authority", "init", "-s", "shop"], KEY);
  expect(code).toBe(2);
  expect(stderr).toContain("has an authority already\n  exchange it with: hotpair authority rotate -s shop");
  expect(project.read("shop")).toBe(before);
});

test("init needs to know where the witness is", async () => {
  project.write("shop", project.read("lab"));
  const { code, stderr } = await project.hotpair(["authority", "init", "-s", "shop"], KEY);
  expect(code).toBe(2);
  expect(stderr).toContain(
    "does not say where the member of the witness is\n  describe the third host first: hotpair:witness",
  );
  expect(project.read("shop")).toBe(project.read("lab"));
});

test("a pair without an authority is told how to get one", async () => {
  for (const command of ["rotate", "status", "defragment"]) {
    const { code, stderr } = await project.hotpair(["authority", command, "-s", "lab"], KEY);
    expect(code, command).toBe(2);
    expect(stderr).toContain("the pair lab has no authority");
  }
});
