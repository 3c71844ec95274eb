// What AWS bills for, by resource; prices are the test's own and nobody else's.

import { expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { declareAws } from "../../infra/targets/aws.ts";
import { avoidedBy, billedOf, costOf, MONTH_HOURS, type Prices } from "../../infra/targets/aws-cost.ts";
import { cloudDataPair, cloudPair } from "../model/pairs.ts";

const billed = (pair = cloudPair) => billedOf(pair, declareAws(pair, collectListeners(pair)));
const prices: Prices = {
  currency: "USD",
  date: "2026-11-20",
  source: "this test",
  prices: { "instance/m7i.large/eu-central-1": 0.1, "volume/gp3/eu-central-1": 0.5, "public-ipv4/eu-central-1": 0.01 },
  downtimeHour: undefined,
  onPremises: undefined,
};

test("everything that is billed is listed once, with what it is billed by", () => {
  expect(billed().map(({ resource, price, quantity }) => `${resource} ${price} ${quantity}`)).toEqual([
    `address public-ipv4/eu-central-1 ${MONTH_HOURS}`,
    `instance-a instance/m7i.large/eu-central-1 ${MONTH_HOURS}`,
    "instance-a detailed-monitoring/eu-central-1 1",
    "instance-a volume/gp3/eu-central-1 20",
    `operators-a public-ipv4/eu-central-1 ${MONTH_HOURS}`,
    "recovery-a alarm/eu-central-1 1",
    `instance-b instance/m7i.large/eu-central-1 ${MONTH_HOURS}`,
    "instance-b detailed-monitoring/eu-central-1 1",
    "instance-b volume/gp3/eu-central-1 20",
    `operators-b public-ipv4/eu-central-1 ${MONTH_HOURS}`,
    "recovery-b alarm/eu-central-1 1",
    "bucket storage/s3/eu-central-1 undefined",
    "backups storage/backup/eu-central-1 undefined",
  ]);
});

test("a witness that is made is billed beside the pair, and a single server has none", () => {
  const witness = billed(cloudDataPair).filter(({ resource }) => resource.endsWith("-witness"));
  expect(witness.map(({ resource, price, quantity }) => `${resource} ${price} ${quantity}`)).toEqual([
    `instance-witness instance/m7g.medium/eu-central-1 ${MONTH_HOURS}`,
    "instance-witness detailed-monitoring/eu-central-1 1",
    "instance-witness volume/gp3/eu-central-1 10",
    `operators-witness public-ipv4/eu-central-1 ${MONTH_HOURS}`,
    "recovery-witness alarm/eu-central-1 1",
  ]);
  expect(witness.filter(({ single }) => single)).toEqual([]);
});

test("sums have what has a price, and the rest is named", () => {
  const cost = costOf(billed(), prices);
  // Two servers with volumes of 20 GiB and three addresses; one server with one address.
  expect(cost.pair).toBeCloseTo(2 * (73 + 10) + 3 * 7.3);
  expect(cost.single).toBeCloseTo(73 + 10 + 7.3);
  expect(cost.missing).toEqual([
    "detailed-monitoring/eu-central-1",
    "alarm/eu-central-1",
    "storage/s3/eu-central-1",
    "storage/backup/eu-central-1",
  ]);
  expect(cost.lines.find(({ price }) => price.startsWith("alarm"))?.cost).toBeUndefined();
});

test("without prices nothing has one", () => {
  const cost = costOf(billed(), undefined);
  expect([cost.pair, cost.single]).toEqual([0, 0]);
  expect(cost.lines.every(({ cost: amount }) => amount === undefined)).toBe(true);
});

test("operations beyond what a volume has by itself are billed", () => {
  const volume = (change: Partial<typeof cloudPair.aws.volume>) =>
    billed({ ...cloudPair, aws: { ...cloudPair.aws, volume: { ...cloudPair.aws.volume, ...change } } })
      .filter(({ resource, unit }) => resource === "instance-b" && unit === "IOPS-month")
      .map(({ price, quantity }) => [price, quantity]);
  expect(volume({ iops: 3_000 })).toEqual([]);
  expect(volume({ iops: 5_000 })).toEqual([["volume-iops/gp3/eu-central-1", 2_000]]);
  expect(volume({ type: "io2", iops: 5_000 })).toEqual([["volume-iops/io2/eu-central-1", 5_000]]);
});

test("what the pair spares is the downtime of one server less its own, a month, at the owner's price of an hour", () => {
  const hour = (count: number) => seconds(3_600 * count);
  const year = { downtime: { lower: hour(1), upper: hour(4) }, downtimeAlone: hour(16) };
  expect(avoidedBy(year, 500)).toEqual({ hours: { lower: 1, upper: 1.25 }, cost: { lower: 500, upper: 625 } });
  expect(avoidedBy(year, undefined).cost).toBeUndefined();
  // A pair that is down longer than one server would be spares nothing.
  expect(avoidedBy({ ...year, downtimeAlone: hour(2) }, 500).hours).toEqual({ lower: 0, upper: 1 / 12 });
});
