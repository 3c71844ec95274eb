// Text that becomes HTML or SVG without surprises: the `markup` tag escapes every value that is not markup itself, so
// that a log line with `<` in it stays a log line. No layout and no knowledge of evidence in here.

/** Markup that may be inserted as it is. */
export interface Markup {
  readonly markup: string;
}

type Value = Markup | string | number | undefined | readonly (Markup | string | number | undefined)[];

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
export const escapeText = (text: string): string => text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");

const isMarkup = (value: unknown): value is Markup => typeof value === "object" && value !== null && "markup" in value;

function insert(value: Value): string {
  if (value === undefined) return "";
  if (isMarkup(value)) return value.markup;
  if (typeof value === "object") return value.map(insert).join("");
  return escapeText(String(value));
}

/** Tagged template: literal parts are markup, values are escaped unless they are markup; arrays are joined. */
export function markup(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return { markup: parts.map((part, index) => part + insert(values[index])).join("") };
}
