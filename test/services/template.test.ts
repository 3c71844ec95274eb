// The template reader is strict: what a template names must be there.

import { expect, test } from "vitest";
import { nodeFile, render } from "../../infra/services/template.ts";

test("fills in text as it is, without escaping", () => {
  const text = render("base/journald.conf.hbs", { node: `a&b "c"` });
  expect(text).toContain(`# Journal of node a&b "c".`);
});

test("a value that the data lacks is an error that names the template and the value", () => {
  expect(() => render("base/journald.conf.hbs", {})).toThrow(/templates\/base\/journald\.conf\.hbs: .*"node"/);
});

test("a template that does not exist is an error with its path", () => {
  expect(() => render("base/nothing.hbs", {})).toThrow(/templates\/base\/nothing\.hbs/);
});

test("programs of the node are read as they are", () => {
  expect(nodeFile("hotpair-apply")).toMatch(/^#!\/bin\/sh/);
});
