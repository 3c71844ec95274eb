// `hotpair drift`: what was changed by hand on a stack's servers. `hotpair up` puts it back (apply.ts).

import { sha256 } from "../plan/changes.ts";
import { planHosts } from "../plan/plan.ts";
import { readFiles } from "../ssh/survey.ts";
import { targetsOfStack } from "./apply.ts";
import { indented, silence, surveyPair, targetOf } from "./servers.ts";
import { diffLines } from "./show-changes.ts";
import { loadStack, type Named } from "./stack.ts";
import { paint } from "./terminal.ts";

export async function drift(options: Named & { json: boolean }): Promise<void> {
  const stack = loadStack(options.stack);
  const targets = await targetsOfStack(stack);
  const plans = planHosts(stack.pair);
  const answers = await surveyPair(targets, plans);
  const report = await Promise.all(
    plans.map(async (plan) => {
      const answer = answers.get(plan.node);
      if (answer === undefined || !("state" in answer))
        return { node: plan.name, silent: answer?.silent.message ?? "was not asked", text: indented(silence(answer)) };
      const { drift: found, manifest } = answer.state;
      const changed = found.files.filter(({ secret, differences }) => !secret && differences.includes("content"));
      const present = await readFiles(
        targetOf(targets, plan.node),
        changed.map(({ path }) => path),
      );
      const text = found.files.flatMap(({ path, secret, differences, expected, found: now }) => {
        const planned = plan.files.find((file) => file.path === path)?.content;
        // What was applied is known as a text only while the stack file still says the same.
        const applied = typeof planned === "string" && sha256(planned) === expected.sha256 ? planned : undefined;
        const head = `  ${paint("yellow", "~")} ${path}: ${differences.join(", ")}`;
        const more = [
          ...(differences.includes("mode") ? [`      mode ${now.mode}, was ${expected.mode}`] : []),
          ...(differences.includes("owner")
            ? [`      ${now.owner}:${now.group}, was ${expected.owner}:${expected.group}`]
            : []),
        ];
        const text = present.get(path);
        if (secret || applied === undefined || text === undefined) return [head, ...more];
        return [head, ...more, ...diffLines(applied, text)];
      });
      const units = found.units.map(
        (unit) => `  ${paint("yellow", "~")} ${unit.name}: ${unit.found}, should be ${unit.expected}`,
      );
      const unfinished = found.unfinished ? ["  an interrupted apply waits to be undone: hotpair up"] : [];
      return {
        node: plan.name,
        setUp: manifest.resource !== null,
        ...found,
        text: [...text, ...units, ...unfinished].join("\n"),
      };
    }),
  );
  const silent = report.some((entry) => "silent" in entry);
  const drifted = report.some(
    (entry) => "files" in entry && (entry.files.length > 0 || entry.units.length > 0 || entry.unfinished),
  );
  if (options.json) {
    console.log(
      JSON.stringify(
        report.map(({ text: _, ...facts }) => facts),
        undefined,
        2,
      ),
    );
  } else {
    for (const entry of report) {
      const state =
        "silent" in entry
          ? "could not be asked"
          : !entry.setUp
            ? "not set up yet"
            : entry.text === ""
              ? "no drift"
              : "changed by hand";
      console.log(`${paint("bold", entry.node)}: ${state}${entry.text === "" ? "" : `\n${entry.text}`}`);
    }
    if (drifted) console.log(`hotpair up -s ${stack.stack} puts it back`);
  }
  process.exitCode = silent ? 1 : drifted ? 3 : 0;
}
