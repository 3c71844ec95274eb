// Sizes read back as they were written, in binary units only.

import fc from "fast-check";
import { expect, test } from "vitest";
import { formatSize, parseSize } from "../../infra/model/size.ts";

test.each([
  ["1KiB", 1_024],
  ["128MiB", 134_217_728],
  ["2GiB", 2_147_483_648],
  ["1TiB", 1_099_511_627_776],
])("%s is %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
  expect(formatSize(bytes)).toBe(text);
});

test.each(["", "128", "128MB", "128M", "0MiB", "1.5GiB", " 1GiB", "01GiB", "-1GiB"])("%j is not a size", (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test("every whole number of KiB reads back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9_999_999 }), (kib) => {
      expect(parseSize(formatSize(kib * 1_024))).toBe(kib * 1_024);
    }),
  );
});
