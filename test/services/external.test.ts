// A service of somebody else's is looked at and never touched.

import { expect, test } from "vitest";
import { planPair } from "../../infra/plan/plan.ts";
import { external } from "../../infra/services/external.ts";
import { externalService } from "../model/pairs.ts";

test("nothing of it is in a plan: no file, no unit, no check that could roll a change back", () => {
  expect(external.plan(externalService, "a")).toBeUndefined();
  for (const plan of planPair(externalService)) {
    expect(plan.units.map(({ name }) => name)).not.toContain("shop.service");
    expect(JSON.stringify(plan.health)).not.toContain("shop");
  }
});
