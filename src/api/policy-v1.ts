import { ageColumn, integer, text } from "./columns.ts";
import { podDisruptionBudgets } from "./generated/policy-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateDisruptionBudget, validateDisruptionBudgetUpdate } from "./validation/others.ts";

export const policyV1: readonly KindEntry[] = [
  kind(podDisruptionBudgets, {
    shortNames: ["pdb"],
    columns: [
      text("Min Available", ({ spec }) => String(spec?.minAvailable ?? "N/A")),
      text("Max Unavailable", ({ spec }) => String(spec?.maxUnavailable ?? "N/A")),
      integer("Allowed Disruptions", ({ status }) => status?.disruptionsAllowed),
      ageColumn,
    ],
    strategy: {
      validate: validateDisruptionBudget,
      validateUpdate: validateDisruptionBudgetUpdate,
      generation: true,
      allowUnconditionalUpdate: false,
    },
  }),
];
