// Whatever somebody writes into a stack file: either every mistake is named cleanly, or the daemons accept every file that
// comes out of it. Held against generated configurations and the daemons' own parsers.

import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { readPair, readStack } from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { describeWithLab } from "../lab/skip.ts";
import { arbitraryStack, type Generated } from "./arbitrary.ts";
import { askParsers } from "./daemons.ts";
import { asDecrypted, asWritten, type Input } from "./sample.ts";

const RUNS = Number(process.env.HOTPAIR_PROPERTY_RUNS ?? 1_000);
const SEED = Number(process.env.HOTPAIR_PROPERTY_SEED ?? 20_261_120);
const FILE = "stacks/Pulumi.any.yaml";

// In quotes, since a drawn name may be a number or a truth value to some YAML reader.
const stackText = (input: Input): string =>
  stringify({ config: asWritten(input) }, { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" });

describeWithLab(`${RUNS} generated configurations (seed ${SEED})`, () => {
  const generated: readonly Generated[] = fc.sample(arbitraryStack(), { numRuns: RUNS, seed: SEED });

  test("are refused with clean messages, or planned for, and the daemons accept every file", async () => {
    const plans: NodePlan[] = [];
    const origin: Generated[] = [];
    const interfaces = new Set<string>();
    let refused = 0;
    for (const [index, stack] of generated.entries()) {
      const text = stackText(stack.input);
      let mistakes: readonly string[] = [];
      try {
        const { pair } = readStack(text, FILE, "any");
        if (stack.broken.length === 0)
          expect(JSON.stringify(readPair(asDecrypted(stack.input), { stack: "any" }))).toBe(JSON.stringify(pair));
        estimate(pair);
        // What is refused for this is planned by nobody.
        if (collectFindings(pair).some(({ rule }) => rule === "state-has-witness")) continue;
        // One node per configuration: the two differ in names and addresses only.
        plans.push(planPair(pair)[index % 2 === 0 ? 0 : 1]);
        origin.push(stack);
        for (const node of pair.nodes)
          for (const attachment of Object.values(node.networks)) interfaces.add(attachment.interface);
      } catch (error) {
        if (!(error instanceof UserError)) throw new Error(`${stack.broken.join("; ")}\n${text}`, { cause: error });
        mistakes = error.details;
        refused += 1;
      }
      if (stack.broken.length === 0) expect(mistakes, text).toEqual([]);
      for (const mistake of mistakes)
        expect(mistake, text).toMatch(
          /^hotpair:(pair|witness|fencing)[^\n]*: [^\n]* \(stacks\/Pulumi\.any\.yaml:\d+:\d+\)$/,
        );
    }
    expect(refused).toBeGreaterThan(RUNS / 10);

    const { accepted, refused: byDaemons } = await askParsers(plans, interfaces, textOf);
    const complaints = byDaemons.map(({ plan, parser, output }) => {
      const stack = origin[plan];
      return `${parser}: ${output}after ${stack?.broken.join("; ") || "no damage"}\n${stackText(stack?.input)}`;
    });
    expect(complaints.slice(0, 3)).toEqual([]);
    console.log(`${refused} refused by the schema; accepted by the daemons: ${JSON.stringify(accepted)}`);
    expect(accepted.keepalived).toBe(plans.length);
  }, 300_000);
});

const textOf = (content: NodePlan["files"][number]["content"]): string =>
  typeof content === "string" ? content : content.map((part) => (typeof part === "string" ? part : "0")).join("");
