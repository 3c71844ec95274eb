// Sizes as users write them (`128MiB`, `2GiB`) and as code counts them: whole bytes. Binary units only: a server's memory
// and its files come in them, and `MB` means two things.

const BYTES_PER: Readonly<Record<string, number>> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const PATTERN = /^([1-9]\d{0,6})(KiB|MiB|GiB|TiB)$/;

/** Reads `128MiB` as bytes; undefined when the text is anything else (the caller knows the place and says so). */
export function parseSize(text: string): number | undefined {
  const match = PATTERN.exec(text);
  const factor = BYTES_PER[match?.[2] ?? ""];
  return match && factor !== undefined ? Number(match[1]) * factor : undefined;
}

/** Writes bytes in the largest unit in which they are whole; a text that reads back as the same size from 1 KiB on. */
export function formatSize(bytes: number): string {
  for (const [name, factor] of Object.entries(BYTES_PER).reverse())
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${name}`;
  return `${bytes} bytes`;
}
