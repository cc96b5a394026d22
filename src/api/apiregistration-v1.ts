import { pathSegmentName } from "../machinery/names.ts";
import { ageColumn, text } from "./columns.ts";
import { type APIService, type APIServiceCondition, apiServices } from "./generated/apiregistration-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateApiService } from "./validation/definition.ts";

function available({ status }: APIService): string {
  const condition = status?.conditions?.find((candidate) => candidate.type === "Available");
  if (!condition) return "Unknown";
  return condition.status === "True" ? "True" : `${condition.status} (${condition.reason ?? ""})`;
}

/** What the server itself serves needs no check. */
function localCondition(since: string | undefined): APIServiceCondition {
  return {
    type: "Available",
    status: "True",
    ...(since ? { lastTransitionTime: since } : {}),
    reason: "Local",
    message: "Local APIServices are always available",
  };
}

export const apiregistrationV1: readonly KindEntry[] = [
  kind(apiServices, {
    categories: ["api-extensions"],
    storage: { prefix: "apiregistration.k8s.io/apiservices" },
    columns: [
      text("Service", ({ spec }) => (spec?.service ? `${spec.service.namespace}/${spec.service.name}` : "Local")),
      text("Available", available),
      ageColumn,
    ],
    strategy: {
      // The core group's is "v1.".
      validateName: pathSegmentName,
      allowUnconditionalUpdate: false,
      validate: validateApiService,
      applyDefaults({ spec }) {
        if (spec?.service) spec.service.port ??= 443;
      },
      prepareForCreate(object) {
        if (!object.spec?.service) object.status = { conditions: [localCondition(object.metadata.creationTimestamp)] };
      },
    },
  }),
];
