// The one reader of files among the services: templates that look like the daemons' own configuration, and the programs
// that run on a server. Everything else in this room is a function of the Pair. No logic about any daemon belongs here.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Handlebars from "handlebars";

const TEMPLATES = join(import.meta.dirname, "../../templates");
const NODE_FILES = join(import.meta.dirname, "../node");

const compiled = new Map<string, Handlebars.TemplateDelegate>();
const sources = new Map<string, string>();

/**
 * Text of `templates/<name>` with `data` filled in, e.g. `render("haproxy/haproxy.cfg.hbs", { … })`.
 * A name that the data lacks is an error (a misspelt timeout must not become an empty one); a property that is present
 * but undefined, null or false counts as absent in `{{#if}}`. Nothing is escaped: these are not HTML pages.
 */
export function render(name: string, data: Readonly<Record<string, unknown>>): string {
  let template = compiled.get(name);
  if (template === undefined) {
    template = Handlebars.compile(read(join(TEMPLATES, name)), { strict: true, noEscape: true });
    compiled.set(name, template);
  }
  try {
    return template(data);
  } catch (error) {
    throw new Error(`templates/${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Text of a program or unit that runs on a server, from `infra/node/<name>`, e.g. `nodeFile("hotpair-apply")`. */
export const nodeFile = (name: string): string => read(join(NODE_FILES, name));

/** Names of the Python modules of a package that runs on a server, e.g. `nodeModules("lease")`: `__init__.py`, … in their order. */
export const nodeModules = (name: string): readonly string[] =>
  readdirSync(join(NODE_FILES, name), { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".py"))
    .map((entry) => entry.name)
    .sort();

function read(path: string): string {
  let text = sources.get(path);
  if (text === undefined) {
    text = readFileSync(path, "utf8");
    sources.set(path, text);
  }
  return text;
}
