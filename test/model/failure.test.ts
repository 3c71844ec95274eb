// Every failure class has its page for the night, with the drill that does it on purpose.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SCENARIOS } from "../../infra/drill/scenarios.ts";
import { FAILURE_CLASS_IDS, FAILURE_CLASSES, needsData } from "../../infra/model/failure.ts";

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
    // The lab's own stack keeps no data.
    expect(page(id)).toContain(`npx hotpair drill -s ${needsData(id) ? "STACK" : "lab"} --scenario `);
  });

  test("names drills that there are", () => {
    const [, names = ""] = /npx hotpair drill -s \S+ --scenario ([a-z0-9 -]+)/.exec(page(id)) ?? [];
    for (const name of names.trim().split(" ")) expect(known).toContain(name);
  });

  test("links to pages that are there", () => {
    const links = [...page(id).matchAll(/\]\(([a-z-]+)\.md\)/g)].map(([, name]) => name ?? "");
    for (const name of links) expect(FAILURE_CLASS_IDS).toContain(name);
  });
});
