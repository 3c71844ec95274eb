// The target `aws`: who is told when a month costs more than it may. What a month costs is aws-cost.ts.

import type { Declared } from "../model/resource.ts";
import type { CloudPair } from "./aws-network.ts";

/** Of the sum: AWS expects it before it is spent. */
const ALARMS = [
  { notificationType: "FORECASTED", threshold: 100 },
  { notificationType: "ACTUAL", threshold: 100 },
] as const;

/** Of what carries the pair's tag, and so nothing before the owner has activated that tag (AWS Billing user guide, cost allocation tags). */
export function budget({ name, aws }: CloudPair): readonly Declared[] {
  if (aws.budget === undefined) return [];
  const { monthly, email } = aws.budget;
  return [
    {
      name: "budget",
      type: "aws:budgets/budget:Budget",
      inputs: {
        budgetType: "COST",
        timeUnit: "MONTHLY",
        limitAmount: String(monthly),
        limitUnit: "USD",
        costFilters: [{ name: "TagKeyValue", values: [`user:hotpair:pair$${name}`] }],
        notifications: ALARMS.map((alarm) => ({
          ...alarm,
          thresholdType: "PERCENTAGE",
          comparisonOperator: "GREATER_THAN",
          subscriberEmailAddresses: email,
        })),
      },
    },
  ];
}
