// A target's whole way, with the real engine and two real servers: refused with the fix while the timers miss it, accepted
// with exactly that fix, confirmed by a drill, and in need of a new one as soon as a timer changes.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stackTextFor } from "../../infra/cli/lab-pair.ts";
import { labDown, labUp } from "../../infra/lab/lab.ts";
import type { Finding } from "../../infra/model/finding.ts";
import type { ClassProof } from "../../infra/model/proof.ts";
import { type Outcome, Project } from "../cli/project.ts";
import { describeWithLab } from "../lab/skip.ts";

const STACK = "gate";
const CLASS = "node-power-cut";

describeWithLab("a recovery target", () => {
  const project = new Project();
  const state = join(project.directory, "state");

  const hotpair = async (...args: readonly string[]): Promise<Outcome & { readonly all: string }> => {
    const outcome = await project.hotpair(args, {
      NO_COLOR: "1",
      PULUMI_BACKEND_URL: pathToFileURL(state).href,
      PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
      PULUMI_STACK: STACK,
      HOTPAIR_EVIDENCE: join(project.directory, "evidence"),
    });
    // The engine breaks lines where its terminal would end.
    return { ...outcome, all: `${outcome.stdout}${outcome.stderr}`.replaceAll(/\s+/g, " ") };
  };
  const check = async (): Promise<{ findings: readonly Finding[]; proof: ClassProof | undefined }> => {
    const { findings, evidence } = JSON.parse((await hotpair("check", "--json")).stdout) as {
      readonly findings: readonly Finding[];
      readonly evidence: readonly ClassProof[];
    };
    return { findings, proof: evidence.find(({ failure }) => failure === CLASS) };
  };
  const edit = (from: string | RegExp, to: string): void => {
    const text = project.read(STACK);
    const edited = text.replace(from, to);
    expect(edited).not.toBe(text);
    project.write(STACK, edited);
  };

  beforeAll(async () => {
    mkdirSync(state);
    const lab = await labUp({ name: "gate", image: "ready" });
    project.write(
      STACK,
      stackTextFor(lab)
        .replace("    vips:", "    vrrp:\n      advertInterval: 200ms\n    vips:")
        .replace("tier: standard", `tier: standard\n      rto:\n        ${CLASS}: 600ms`),
    );
  });
  afterAll(async () => {
    project.remove();
    await labDown("gate");
  });

  it("that the timers miss stops the preview, with the sum and the timer that would keep it", async () => {
    const { code, all } = await hotpair("preview");
    expect(code).not.toBe(0);
    expect(all).toContain(CLASS);
    expect(all).toContain("3 × 200ms + (256 − 253) × 200ms / 256");
    expect(all).toContain("732.4ms");
    expect(all).toMatch(/advertInterval\W.*150ms/);
  });

  it("is kept by exactly the fix that was named", async () => {
    const { code, all } = await hotpair("tune", "--write");
    expect(code, all).toBe(0);
    expect(project.read(STACK)).toContain("advertInterval: 150ms");
    const preview = await hotpair("preview");
    expect(preview.code, preview.all).toBe(0);
  });

  it("is confirmed by a drill on the servers that it was applied to", async () => {
    const up = await hotpair("up", "--yes");
    expect(up.code, up.all).toBe(0);
    expect((await check()).proof?.state).toBe("missing");
    const drill = await hotpair("drill", "--scenario", CLASS);
    expect(drill.code, drill.all).toBe(0);
    expect((await check()).proof?.state).toBe("proven");
  });

  it("needs a new drill as soon as a timer changes, where evidence is mandatory", async () => {
    edit("    vips:", "    evidence:\n      enforcement: mandatory\n    vips:");
    const about = ({ findings }: Awaited<ReturnType<typeof check>>) =>
      findings.flatMap(({ rule, level, message }) => (message.includes(CLASS) ? [`${level} ${rule}`] : []));
    expect(about(await check())).toEqual([]);
    edit("advertInterval: 150ms", "advertInterval: 140ms");
    expect(about(await check())).toEqual(["mandatory evidence-matches"]);
    const { code, all } = await hotpair("preview");
    expect(code).not.toBe(0);
    expect(all).toMatch(/the evidence for 1 failure class is of another configuration: node-power-cut/);
    edit("advertInterval: 140ms", "advertInterval: 150ms");
    expect(about(await check())).toEqual([]);
  });
});
