// The kinds of values that a configuration is made of: each with the words that name it in a message, an example, and the
// test it must pass. What a field means and what it defaults to is said in schema.ts.

import { z } from "zod";
import { parseDuration } from "../model/duration.ts";
import { parseCidr, parseIpv4 } from "../model/ipv4.ts";
import { formatSize, parseSize } from "../model/size.ts";
import { show, suggest } from "./problem.ts";

interface Format {
  /** With article, e.g. `an IPv4 address with prefix`. */
  readonly what: string;
  readonly example: string;
  /** For editors, through the JSON Schema. */
  readonly pattern?: RegExp;
  readonly accepts?: (text: string) => boolean;
}

/** Message of a value that is missing or not what it should be. */
const wrong =
  (what: string, example: string) =>
  (issue: { readonly input?: unknown }): string =>
    issue.input === undefined
      ? `is missing; expected ${what}, e.g. ${example}`
      : `${show(issue.input)} is not ${what}; expected e.g. ${example}`;

export function text(format: Format) {
  const error = wrong(format.what, format.example);
  const { pattern, accepts = () => true } = format;
  const base = z.string({ error });
  const shaped = pattern === undefined ? base : base.regex(pattern, { error });
  return shaped.refine(accepts, { error }).meta({ examples: [format.example] });
}

export function integer(min: number, max: number, example: number, what = "a whole number") {
  const error = wrong(`${what} from ${min} to ${max}`, String(example));
  return z
    .number({ error })
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .meta({ examples: [example] });
}

export const port = (example: number) => integer(1, 65_535, example, "a port number");

export const flag = () => z.boolean({ error: wrong("true or false", "true") });

export function oneOf<const Names extends readonly [string, ...string[]]>(...names: Names) {
  return z.enum(names, {
    error: (issue) => {
      if (issue.input === undefined) return `is missing; expected one of ${names.join(", ")}`;
      const meant = typeof issue.input === "string" ? suggest(issue.input, names) : undefined;
      const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
      return `${show(issue.input)} is not one of ${names.join(", ")}${hint}`;
    },
  });
}

interface DurationRange {
  /** As durations are written, e.g. `10ms`. Every value is a multiple of `step`. */
  readonly min: string;
  readonly max: string;
  readonly step: string;
  /** Why these bounds: the daemon's or the protocol's. */
  readonly because: string;
  readonly example: string;
}

/** `100ms`, `30s`, `5m`: a number and its unit. */
export function duration({ min, max, step, because, example }: DurationRange) {
  const noDuration = wrong("a duration with its unit (us, ms, s, m, h, d)", example);
  return z
    .string({ error: noDuration })
    .regex(/^\d+(\.\d+)?(us|ms|s|m|h|d)$/, { error: noDuration })
    .superRefine((value, context) => {
      const parsed = parseDuration(value);
      if (parsed === undefined) return;
      const steps = parsed / inMs(step);
      if (parsed < inMs(min) || parsed > inMs(max))
        context.addIssue(`${show(value)} is outside ${min} to ${max} (${because}); expected e.g. ${example}`);
      else if (Math.abs(steps - Math.round(steps)) > 1e-4)
        context.addIssue(`${show(value)} is not a multiple of ${step} (${because}); expected e.g. ${example}`);
    })
    .meta({ examples: [example], limits: `${min} to ${max}, multiples of ${step} (${because})` });
}

function inMs(text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw new Error(`${text} is no duration`);
  return value;
}

interface SizeRange {
  /** As sizes are written, e.g. `16MiB`. Every value is a multiple of `step`. */
  readonly min: string;
  readonly max: string;
  readonly step: string;
  readonly because: string;
  readonly example: string;
}

/** `128MiB`, `2GiB`: a whole number and its binary unit. */
export function size({ min, max, step, because, example }: SizeRange) {
  const noSize = wrong("a size with its unit (KiB, MiB, GiB, TiB)", example);
  const bytes = (text: string): number => {
    const value = parseSize(text);
    if (value === undefined) throw new Error(`${text} is no size`);
    return value;
  };
  return z
    .string({ error: noSize })
    .regex(/^[1-9]\d{0,6}(KiB|MiB|GiB|TiB)$/, { error: noSize })
    .superRefine((value, context) => {
      const parsed = parseSize(value);
      if (parsed === undefined) return;
      if (parsed < bytes(min) || parsed > bytes(max))
        context.addIssue(`${show(value)} is outside ${min} to ${max} (${because}); expected e.g. ${example}`);
      else if (parsed % bytes(step) !== 0)
        context.addIssue(
          `${show(value)} is not a multiple of ${step} (${because}); expected e.g. ${formatSize(Math.ceil(parsed / bytes(step)) * bytes(step))}`,
        );
    })
    .meta({ examples: [example], limits: `${min} to ${max}, multiples of ${step} (${because})` });
}

export function list<Item extends z.ZodType>(item: Item, what: string, { min = 0, max = 64 } = {}) {
  const amount = min === max ? `exactly ${min}` : `${min} to ${max}`;
  return z
    .array(item, { error: (issue) => notA(`a list of ${what}`, issue.input) })
    .min(min, { error: (issue) => `${count(issue.input)} given; expected ${amount} ${what}` })
    .max(max, { error: (issue) => `${count(issue.input)} given; expected ${amount} ${what}` });
}

const count = (value: unknown): string => String(Array.isArray(value) ? value.length : 0);

const notA = (what: string, value: unknown): string =>
  value === undefined ? `is missing; expected ${what}` : `${show(value)} stands here; expected ${what}`;

/**
 * A map of the named keys and no others. Each unknown key becomes one line of the issue's message, in order. `apart` are
 * keys that its author writes somewhere else and that are not offered here.
 */
export function keys<Fields extends z.ZodRawShape>(fields: Fields, apart: readonly string[] = []) {
  const known = Object.keys(fields).filter((name) => !apart.includes(name));
  return z.strictObject(fields, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return notA(`the keys ${known.join(", ")}`, issue.input);
      return (issue.keys as string[]).map((name) => unknownKey(name, known)).join("\n");
    },
  });
}

function unknownKey(name: string, known: readonly string[]): string {
  const meant = suggest(name, known);
  return meant === undefined
    ? `is not a known key; expected one of ${known.join(", ")}`
    : `is not a known key; did you mean "${meant}"?`;
}

/** A map whose keys are names of its author's choosing. */
export function named<Value extends z.ZodType>(what: string, pattern: RegExp, example: string, value: Value) {
  const key = z
    .string()
    .regex(pattern, { error: ({ input }) => `${show(input)} is not ${what}; expected e.g. ${example}` });
  return z.record(key, value, {
    error: (issue) =>
      issue.code === "invalid_key"
        ? `is not ${what}; expected e.g. ${example}`
        : notA(`${what} and value`, issue.input),
  });
}

export const address = (example: string) =>
  text({ what: "an IPv4 address with prefix", example, accepts: (value) => parseCidr(value) !== undefined });

export const plainAddress = (example: string) =>
  text({ what: "an IPv4 address", example, accepts: (value) => parseIpv4(value) !== undefined });

/** Names that end up in unit names, file names and the daemons' own configuration. */
export const label = (what: string, longest: number, example: string) =>
  text({
    what: `${what} of at most ${longest} lower-case letters, digits and inner hyphens`,
    example,
    pattern: new RegExp(`^[a-z0-9]([a-z0-9-]{0,${longest - 2}}[a-z0-9])?$`),
  });

/** A host as SSH and SMTP take it: a name, an IPv4 or an IPv6 address. */
export const host = (example: string) =>
  text({ what: "a host name or address", example, pattern: /^[A-Za-z0-9]([A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?$/ });

/** linux/if.h: at most 15 characters. The rest is what keepalived and sysctl take without quoting. */
export const networkInterface = (example: string) =>
  text({
    what: "a network interface name (at most 15 characters)",
    example,
    pattern: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/,
    // The kernel refuses these two: /proc/sys/net/ipv4/conf has them already.
    accepts: (value) => value !== "all" && value !== "default",
  });

/** Free of everything that one of the daemons' configuration languages would read as more than a path. */
export const absolutePath = (what: string, example: string) =>
  text({
    what: `${what}: an absolute path of letters, digits and . _ - + @ /`,
    example,
    pattern: /^(\/[A-Za-z0-9._+@-]+)+$/,
    accepts: (value) => !value.split("/").some((part) => part === "." || part === ".."),
  });

export const urlPath = (example: string) =>
  text({ what: "a URL path of letters, digits and . _ ~ - /", example, pattern: /^\/[A-Za-z0-9._~/-]*$/ });

export const mailbox = (example: string) =>
  text({
    what: "a mail address",
    example,
    pattern: /^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?$/,
  });

/**
 * One certificate in PEM (RFC 7468), whole: the length that its DER states is checked, so that a torn copy is found here.
 * Who signed it is the command's business that makes it.
 */
export function isCertificate(value: string): boolean {
  const body = /^-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/]{1,64}={0,2}\n)+)-----END CERTIFICATE-----\n?$/.exec(
    value,
  )?.[1];
  const base64 = body?.replaceAll("\n", "");
  if (base64 === undefined || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return false;
  const bytes = Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const [tag, length = 0, ...rest] = bytes;
  // A SEQUENCE; its length in one byte, or behind a count of bytes (X.690 §8.1.3).
  if (tag !== 0x30) return false;
  if (length < 0x80) return bytes.length === 2 + length;
  const count = length - 0x80;
  return (
    count >= 1 &&
    count <= 3 &&
    bytes.length === 2 + count + rest.slice(0, count).reduce((sum, byte) => sum * 256 + byte, 0)
  );
}

export const certificate = (what: string, how: string) => {
  const error = ({ input }: { readonly input?: unknown }) =>
    input === undefined
      ? `is missing; expected ${what} in PEM: ${how}`
      : `${show(input)} is not ${what}, one whole certificate in PEM; ${how}`;
  return z
    .string({ error })
    .refine(isCertificate, { error })
    .meta({ examples: ["-----BEGIN CERTIFICATE-----…"] });
};

const KEY_TYPES = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/** `type base64`: the blob repeats its type behind a length (RFC 4253 §6.6), so that a torn copy is found here. */
export function isHostKey(value: string): boolean {
  const [type, blob, ...rest] = value.split(" ");
  if (type === undefined || blob === undefined || rest.length > 0 || !KEY_TYPES.includes(type)) return false;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(blob) || blob.length % 4 !== 0) return false;
  const bytes = atob(blob);
  const fields: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = [0, 1, 2, 3].reduce((sum, index) => sum * 256 + (bytes.charCodeAt(at + index) || 0), 0);
    if (at + 4 + length > bytes.length) return false;
    fields.push(bytes.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return fields[0] === type && fields.length >= 2;
}

export const hostKey = () =>
  z
    .string({
      error: ({ input }) => (input === undefined ? "is missing; fetch it with `hotpair scan`" : noHostKey(input)),
    })
    .refine(isHostKey, { error: ({ input }) => noHostKey(input) })
    .meta({ examples: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"] });

const noHostKey = (input: unknown): string =>
  `${show(input)} is not a whole SSH host key; expected "type base64" (${KEY_TYPES.join(", ")}); fetch it with \`hotpair scan\``;

/** Why something unusual is meant: no time is promised, or a danger is taken. */
export const reason = (example: string) =>
  text({
    what: "a reason in a sentence of 10 to 200 characters",
    example,
    pattern: /^[^\s][^\r\n]{8,198}[^\s]$/,
  });
