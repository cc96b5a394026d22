import { ageColumn, none, text } from "./columns.ts";
import {
  flowSchemas,
  type PriorityLevelConfiguration,
  priorityLevelConfigurations,
  type QueuingConfiguration,
} from "./generated/flowcontrol-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateFlowSchema, validateFlowStatus, validatePriorityLevel } from "./validation/flow-control.ts";

function queuing(field: keyof QueuingConfiguration) {
  return ({ spec }: PriorityLevelConfiguration) => {
    const configuration = spec?.limited?.limitResponse?.queuing;
    return configuration ? (configuration[field] ?? 0) : none;
  };
}

export const flowcontrolV1: readonly KindEntry[] = [
  kind(flowSchemas, {
    columns: [
      text("PriorityLevel", ({ spec }) => spec?.priorityLevelConfiguration.name ?? ""),
      text("MatchingPrecedence", ({ spec }) => spec?.matchingPrecedence ?? 0),
      text("DistinguisherMethod", ({ spec }) => spec?.distinguisherMethod?.type ?? none),
      ageColumn,
      text("MissingPL", ({ status }) => status?.conditions?.find(({ type }) => type === "Dangling")?.status ?? "?"),
    ],
    strategy: {
      generation: true,
      validate: validateFlowSchema,
      validateUpdate: validateFlowStatus,
      applyDefaults({ spec }) {
        if (spec) spec.matchingPrecedence ||= 1000;
      },
    },
  }),
  kind(priorityLevelConfigurations, {
    columns: [
      text("Type", ({ spec }) => spec?.type ?? ""),
      text("NominalConcurrencyShares", ({ spec }) => spec?.limited?.nominalConcurrencyShares ?? none),
      text("Queues", queuing("queues")),
      text("HandSize", queuing("handSize")),
      text("QueueLengthLimit", queuing("queueLengthLimit")),
      ageColumn,
    ],
    strategy: {
      generation: true,
      validate: validatePriorityLevel,
      validateUpdate: validateFlowStatus,
      applyDefaults({ spec }) {
        if (spec?.exempt) {
          spec.exempt.nominalConcurrencyShares ??= 0;
          spec.exempt.lendablePercent ??= 0;
        }
        if (!spec?.limited) return;
        spec.limited.nominalConcurrencyShares ??= 30;
        spec.limited.lendablePercent ??= 0;
        const configuration = spec.limited.limitResponse?.queuing;
        if (!configuration) return;
        configuration.queues ||= 64;
        configuration.handSize ||= 8;
        configuration.queueLengthLimit ||= 50;
      },
    },
  }),
];
