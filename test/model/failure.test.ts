// Every failure class has its page for the night, with the drill that does it on purpose.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SCENARIOS } from "../../infra/drill/scenarios.ts";
import { CATALOGUE, neededFor, pageOf } from "../../infra/model/catalogue.ts";
import { beyondOf } from "../../infra/model/estimate.ts";
import { FAILURE_CLASS_IDS, FAILURE_CLASSES, failureClassesOf, needsData } from "../../infra/model/failure.ts";
import { labPair, statefulPair } from "./pairs.ts";

const known = SCENARIOS.map(({ name }) => name);

const pages = join(import.meta.dirname, "../../docs/failures");
const page = (name: string): string => readFileSync(join(pages, `${name}.md`), "utf8");

test("one page per class, and none more", () => {
  const names = readdirSync(pages).map((file) => file.replace(/\.md$/, ""));
  expect(names.sort()).toEqual([...FAILURE_CLASS_IDS, "README"].sort());
});

test("the index names every class by what happens", () => {
  for (const id of FAILURE_CLASS_IDS) expect(page("README")).toContain(`- [${id}](${id}.md): ${FAILURE_CLASSES[id]}\n`);
});

describe.each(FAILURE_CLASS_IDS)("%s", (id) => {
  test("says what happens, what is seen, what to do, and how to try it", () => {
    const headings = page(id).match(/^## .*$/gm);
    expect(headings).toEqual(["## What happens", "## What you see", "## What to do", "## Try it"]);
    expect(pageOf(id)).toBe(`docs/failures/${id}.md`);
    const { drills } = CATALOGUE[id];
    if ("none" in drills) {
      const [, last = ""] = page(id).split("## Try it");
      expect(last.replaceAll(/\s+/g, " ").trim()).toBe(`No drill: ${drills.none}.`);
      return;
    }
    // The lab's own stack keeps no data.
    expect(page(id)).toContain(`npx hotpair drill -s ${needsData(id) ? "STACK" : "lab"} --scenario `);
  });

  test("is known: what it is, what is lost, who notices, how bad it is, and what to do step by step", () => {
    const { lost, detectedBy, severity } = CATALOGUE[id];
    for (const text of [FAILURE_CLASSES[id], lost, detectedBy]) expect(text).toMatch(/^\p{L}.{2,}[^.\s]$/u);
    expect(["P0", "P1", "P2", "none"]).toContain(severity);
    const [, toDo = ""] = page(id).split(/^## What to do$|^## Try it$/m);
    expect(toDo).toMatch(/^1\. \S/m);
  });

  test("names drills that there are", () => {
    const [, names = ""] = /npx hotpair drill -s \S+ --scenario ([a-z0-9 -]+)/.exec(page(id)) ?? [];
    for (const name of names.split(" ").filter((each) => each !== "")) expect(known).toContain(name);
  });

  test("has exactly the drills that the catalogue names, or a reason for having none", () => {
    const { drills } = CATALOGUE[id];
    const own = SCENARIOS.filter(({ failure }) => failure === id).map(({ name }) => name);
    if ("none" in drills) {
      expect(own).toEqual([]);
      expect(drills.none.length).toBeGreaterThan(20);
    } else expect([...drills].sort()).toEqual(own.sort());
  });

  test("links to pages that are there", () => {
    const links = [...page(id).matchAll(/\]\(([a-z-]+)\.md\)/g)].map(([, name]) => name ?? "");
    for (const name of links) expect(FAILURE_CLASS_IDS).toContain(name);
  });
});

test("what cannot be survived says what would be needed", () => {
  for (const pair of [labPair, statefulPair])
    for (const failure of failureClassesOf(pair)) {
      const beyond = beyondOf(failure, pair);
      if (beyond?.startsWith("cannot be survived")) expect(neededFor(failure), failure).toBeDefined();
    }
  // Nodes and witness at three stated sites survive the loss of one; the lab's pair states none.
  expect(beyondOf("site-loss", statefulPair)).toBeUndefined();
  expect(beyondOf("site-loss", labPair)).toMatch(/cannot be survived/);
  expect(beyondOf("site-loss", { ...statefulPair, witness: undefined })).toMatch(/cannot be survived/);
});
