import { ageColumn, boolean, integer, wide } from "./columns.ts";
import { priorityClasses } from "./generated/scheduling-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validatePriorityClass, validatePriorityClassUpdate } from "./validation/others.ts";

export const schedulingV1: readonly KindEntry[] = [
  kind(priorityClasses, {
    shortNames: ["pc"],
    columns: [
      integer("Value", ({ value }) => value),
      boolean("Global-Default", ({ globalDefault }) => globalDefault),
      ageColumn,
      wide("PreemptionPolicy", ({ preemptionPolicy }) => preemptionPolicy ?? ""),
    ],
    strategy: {
      // Starts at 1 and stays: what it would count cannot change.
      generation: true,
      counted: () => undefined,
      ratchets: true,
      validate: validatePriorityClass,
      validateUpdate: validatePriorityClassUpdate,
      applyDefaults(priorityClass) {
        priorityClass.preemptionPolicy ??= "PreemptLowerPriority";
      },
    },
  }),
];
